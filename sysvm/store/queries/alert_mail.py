"""Alerts on their way to operators: each is mailed once, in the order in which they were raised.

The row says that it is to be mailed from the transaction on that raises it. A letter that was handed in by a server that died
before it could note so is handed in again, with the same Message-ID, by which mail programs know it.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage

from sysvm.basics.errors import Refused
from sysvm.basics.mail import MailServer, letter, parse_address, parse_addresses
from sysvm.store import tables
from sysvm.store.queries import settings, turns
from sysvm.store.queries.settings import value
from sysvm.store.secrets import Vault
from sysvm.store.store import Row, Tx

KIND, ID = "alert_mail", 1  # the one turn of its kind: a mail server that is slow has one worker at most
MAILED_FOR_S = 24 * 3600.0  # what could not be mailed for so long is no news

OVER = "update alert set to_mail = :no where to_mail and sent < :before"
WAITING = "select 1 from alert where to_mail and not exists (select 1 from turn where kind = :kind) limit 1"


@dataclass(frozen=True, slots=True)
class AlertLetter:
    """An alert, and how it reaches its readers."""

    alert: int
    server: MailServer
    message: EmailMessage


def sweep(tx: Tx) -> None:
    """What waits to be mailed has a turn; what nobody is to have any more, or is old, does not wait."""
    to = settings.value(tx, "alert.email.addresses")
    tx.sql(OVER, no=False, before=tx.now - MAILED_FOR_S if to else tx.now + 1)
    if tx.sql(WAITING, kind=KIND):
        turns.wish(tx, KIND, ID)


def first(tx: Tx, vault: Vault) -> AlertLetter | None:
    """The oldest that waits. Raises Refused when settings of an earlier release make no sense."""
    waiting = tx.rows(tables.alert, "to_mail order by id limit 1")
    try:
        to = parse_addresses(str(value(tx, "alert.email.addresses") or ""))
        sender = parse_address(str(value(tx, "alert.email.sender") or to[0])) if to else ""
    except ValueError as error:
        raise Refused(f"alert.email.addresses or alert.email.sender: {error}") from error
    if not waiting or not to:
        return None
    (alert,) = waiting
    message = letter(sender, to, alert.subject, _body(tx, alert), id_=alert.uuid, sent=alert.sent)
    return AlertLetter(alert.id, _server(tx, vault), message)


def mailed(tx: Tx, alert: int) -> None:
    """It does not wait any more."""
    tx.update(tables.alert, alert, to_mail=False)


def _server(tx: Tx, vault: Vault) -> MailServer:
    login = value(tx, "alert.smtp.useAuth")
    return MailServer(
        host=str(value(tx, "alert.smtp.host") or "localhost"),
        port=value(tx, "alert.smtp.port"),
        start_tls=value(tx, "alert.smtp.useStartTLS"),
        user=str(value(tx, "alert.smtp.username") or "") if login else "",
        password=str(value(tx, "alert.smtp.password", vault=vault) or "") if login else "",
        timeout_s=value(tx, "alert.smtp.timeout") / 1000,
    )


def _body(tx: Tx, alert: Row) -> str:
    zone = tx.get(tables.zone, alert.zone_id) if alert.zone_id is not None else None
    raised = datetime.fromtimestamp(alert.sent, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    lines = [alert.content, "", f"Type: {alert.name} ({alert.type})", f"Raised: {raised}", f"Alert: {alert.uuid}"]
    return "\n".join([*lines, *([f"Zone: {zone.name}"] if zone is not None else [])]) + "\n"
