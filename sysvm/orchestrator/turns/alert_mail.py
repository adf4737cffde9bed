"""The turn that mails alerts: one letter each time, so that a death in between repeats one at most.

What the mail server does not take now is tried again for a day; what it never will take is told, and left out.
"""

from sysvm.orchestrator.context import Context
from sysvm.orchestrator.engine import Gone, Outcome, Result
from sysvm.store.queries import alert_mail, alerts
from sysvm.store.queries.alert_mail import AlertLetter
from sysvm.store.queries.alerts import AlertType
from sysvm.store.queries.turns import Turn
from sysvm.store.store import Tx


async def work(context: Context, _turn: Turn) -> Outcome:
    """The oldest that waits, if there is one."""
    next_ = await context.store.read(lambda tx: alert_mail.first(tx, context.keys.vault))
    if next_ is None:
        return Gone()
    left_out = await context.mail(next_.server, next_.message)
    return Result(0.0, lambda tx: _mailed(tx, next_, left_out))


def _mailed(tx: Tx, done: AlertLetter, left_out: str) -> None:
    alert_mail.mailed(tx, done.alert)
    if left_out:
        complain(tx, alert_mail.ID, left_out)


def complain(tx: Tx, _id: int, why: str) -> None:
    """Who reads no mail may read the list of alerts."""
    alerts.raise_alert(tx, AlertType.MANAGEMENT_SERVER, f"Alerts are not mailed: {why}")
