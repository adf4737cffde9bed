"""A snapshot policy's turn: when it is due, one snapshot is wished and the next instant is written, in one transaction.

The release of the turn does that, so it happens once, whoever dies when, and however many servers there are. What was missed
while no server ran is made up for by one snapshot.
"""

from datetime import UTC, datetime

from sysvm.basics.errors import Refused
from sysvm.orchestrator.context import Context
from sysvm.orchestrator.engine import Gone, Outcome, Result
from sysvm.store import tables
from sysvm.store.queries import alerts, events, limits, snapshots
from sysvm.store.queries.alerts import AlertType
from sysvm.store.queries.events import About
from sysvm.store.queries.turns import LONGEST_SLEEP_S, Turn
from sysvm.store.store import Row, Tx
from sysvm.systemvms import schedules
from sysvm.systemvms.schedules import Interval


async def work(context: Context, turn: Turn) -> Outcome:
    """One look at the clock."""
    row = await context.store.read(lambda tx: tx.get(tables.snapshot_policy, turn.id))
    if row is None or row.removed is not None:
        return Gone()
    now = context.clock.now()
    if row.next is not None and row.next > now:
        return Result(min(row.next - now, LONGEST_SLEEP_S))
    schedule = schedules.parse(Interval(row.interval), row.schedule, row.timezone)
    due = schedules.next_due(schedule, now)
    return Result(min(due - now, LONGEST_SLEEP_S), lambda tx: _due(tx, context, row, due))


def _due(tx: Tx, context: Context, row: Row, following: float) -> None:
    tx.update(tables.snapshot_policy, row.id, next=following)
    volume = tx.get(tables.volume, row.volume_id)
    if row.next is None or volume is None or volume.removed is not None:
        return
    if volume.state == "Allocated":
        return  # nothing has ever been written to it
    about = About("Volume", volume.id, volume.uuid, volume.name)
    interval = Interval(row.interval).name
    try:
        limits.check_limit(tx, volume.account_id, limits.Kind.SNAPSHOTS)
    except Refused as why:
        text = f"The {interval.lower()} snapshot of volume {volume.name} was not made: {why.text}"
        events.record(tx, "SNAPSHOT.CREATE", text, actor=snapshots.actor(row), about=about, level="ERROR")
        alerts.raise_alert(tx, AlertType.RESOURCE_EXCEED, text, zone=volume.zone_id)
        return
    when = datetime.fromtimestamp(tx.now, UTC)
    name = f"{volume.name}_{when:%Y%m%d%H%M%S}"
    snapshots.new(tx, context.ids, volume, name, interval, policy_id=row.id)


def complain(tx: Tx, id_: int, why: str) -> None:
    """A policy has no note: what it could not do is an event."""
