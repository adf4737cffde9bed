"""copySnapshot: other zones get a snapshot that one zone has, with the whole chain that it is made of.

Only wishes: each file of the chain that a zone lacks comes as a template's copy does, from a secondary storage VM of a zone
that has it, and its SHA-256 is compared. The job ends when every zone that was named has all of it.
"""

from typing import Any

from sysvm.api.answers import snapshots as answers
from sysvm.api.call import Accepted, Call, Reply
from sysvm.api.commands.images import images
from sysvm.api.handlers import handler, result
from sysvm.api.listing import tags_of
from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.queries import limits, snapshot_copies, snapshots
from sysvm.store.queries.jobs import Part
from sysvm.store.store import Row, Tx

ABOUT = "Snapshot"


@handler("copySnapshot")
def copy_snapshot(call: Call) -> Reply:
    """The job waits for all files in all zones."""
    row = call.need(tables.snapshot, "id")
    if row.state != "BackedUp":
        raise Refused(f"Snapshot {row.uuid} is in state {row.state}; it must be BackedUp to be copied")
    source = call.row(tables.zone, "sourcezoneid")
    if source is not None and not snapshot_copies.is_whole(call.tx, row, source.id):
        raise Refused(f"Snapshot {row.name} is not in zone {source.name}: there is nothing to copy")
    targets = _targets(call, row, source)
    parts: list[Part] = []
    for zone in targets:
        limits.check_limit(call.tx, row.account_id, limits.Kind.SECONDARY_STORAGE, snapshot_copies.to_come(call.tx, row))
        parts += snapshot_copies.want(call.tx, row, zone.id)
    names = ", ".join(zone.name for zone in targets)
    text = f"copying snapshot: {row.uuid} to zones: {names}"
    return Accepted(tuple(parts), call.about(ABOUT, row), text, {"zone": targets[0].id})


def _targets(call: Call, row: Row, source: Row | None) -> list[Row]:
    targets = images.destinations(call)
    for zone in targets:
        if zone.id == row.zone_id:
            raise Refused(f"Snapshot {row.name} was taken in zone {zone.name}: it need not be copied there")
        if source is not None and zone.id == source.id:
            raise Refused(f"Zone {zone.name} cannot be both source and destination: please specify different zones")
        if zone.allocation_state != "Enabled" and not call.caller.is_root:
            raise Refused(f"Cannot perform this operation, Zone is currently disabled: {zone.name}", Why.NOT_ALLOWED)
        images.need_store(call.tx, zone)
    return targets


@result("copySnapshot")
def _copied(tx: Tx, job: Row) -> dict[str, Any]:
    row = tx.one(snapshots.statement().where(tables.snapshot.c.id == job.instance_id, snapshots.zone_is(job.params["zone"])))
    if row is None:  # it has been deleted meanwhile
        return answers.snapshot(snapshots.one(tx, job.instance_id))
    place = (row.id, job.params["zone"])
    shown = answers.snapshot(row, snapshot_copies.states(tx, [place])[place])
    return {**shown, "tags": tags_of(tx, ABOUT, [row.id]).get(row.id, [])}
