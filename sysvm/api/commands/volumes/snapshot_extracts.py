"""extractSnapshot: an address at which what a snapshot holds can be downloaded for a while, by whoever has it.

A whole one is one file of the image store already. One that holds changes only is laid over the others of its chain by a host,
as for a template, into a file of its own (a capture of kind EXTRACT), which goes when the address has expired.
"""

from typing import Any

from sysvm.api import results
from sysvm.api.answers.extracts import extract
from sysvm.api.call import Accepted, Call, Reply
from sysvm.api.commands.images import images
from sysvm.api.commands.images.image_extracts import may_extract
from sysvm.api.commands.images.image_uploads import the_door
from sysvm.api.handlers import handler, result
from sysvm.basics.errors import Refused
from sysvm.store import tables
from sysvm.store.queries import image_links, snapshot_copies, snapshots
from sysvm.store.store import Row, Tx


@handler("extractSnapshot")
def extract_snapshot(call: Call) -> Reply:
    """The job ends when the address leads to all of it."""
    row = call.need(tables.snapshot, "id")
    may_extract(call)
    zone = call.need(tables.zone, "zoneid")
    if row.state != "BackedUp":
        raise Refused(f"Snapshot {row.uuid} is in state {row.state}; it must be BackedUp to be extracted")
    if not snapshot_copies.is_whole(call.tx, row, zone.id):
        raise Refused(f"Snapshot {row.name} is not in zone {zone.name}: copy it there with copySnapshot, or name another one")
    params: dict[str, Any] = {"machine": the_door(call, zone).id, "zone": zone.id}
    about, text = call.about("Snapshot", row), f"extracting snapshot: {row.uuid}"
    if row.parent_id is None:
        return Accepted((), about, text, params, secret=True)
    images.need_store(call.tx, zone)
    volume = call.tx.get(tables.volume, row.volume_id)
    assert volume is not None
    capture, part = snapshots.new(
        call.tx, call.ids, volume, row.name, snapshots.EXTRACT, zone_id=zone.id, source_id=row.id,
        virtual_bytes=row.virtual_bytes,
    )  # fmt: skip
    return Accepted((part,), about, text, {**params, "capture": capture}, secret=True)


@result("extractSnapshot")
def _extracted(tx: Tx, job: Row) -> dict[str, Any]:
    row, zone = tx.get(tables.snapshot, job.instance_id), tx.get(tables.zone, job.params["zone"])
    assert row is not None and zone is not None
    account = tx.get(tables.account, row.account_id)
    machine = image_links.door(tx, zone.id) or tx.get(tables.machine, job.params["machine"])
    found = _found(tx, row, zone.id, job.params.get("capture"))
    assert machine is not None and found is not None
    url = image_links.link(tx, results.ticket_key(tx), found, machine)
    return extract("SNAPSHOT", row, account, zone, url, job.created)


def _found(tx: Tx, row: Row, zone_id: int, capture_id: int | None) -> image_links.Stored | None:
    if capture_id is not None:
        capture = tx.get(tables.snapshot, capture_id)
        return image_links.of_snapshot(tx, capture) if capture is not None else None
    return snapshot_copies.stored_in(tx, row, zone_id)
