"""extractVolume: an address at which what a volume holds can be downloaded for a while, by whoever has it.

Its bytes are on a host; they are copied to the image store of the zone in the way of snapshots (a capture of kind EXTRACT), and
go from there when the address has expired. A volume that was uploaded and never attached is there already.
"""

from typing import Any

from sysvm.api import results
from sysvm.api.answers.extracts import extract
from sysvm.api.call import Accepted, Call, Reply
from sysvm.api.commands.images import images
from sysvm.api.commands.images.image_extracts import check_mode
from sysvm.api.commands.images.image_uploads import the_door
from sysvm.api.commands.volumes.snapshots import need_copyable
from sysvm.api.handlers import handler, result
from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.queries import image_links, machine_rows, snapshots, volume_images
from sysvm.store.queries.image_links import Stored
from sysvm.store.store import Row, Tx


@handler("extractVolume")
def extract_volume(call: Call) -> Reply:
    """The job ends when the address leads to the whole volume."""
    volume = call.need(tables.volume, "id")
    check_mode(call)
    zone = call.need(tables.zone, "zoneid")
    if zone.id != volume.zone_id:
        raise Refused(f"Volume {volume.name} is not in zone {zone.name}")
    _check(call, volume)
    machine = the_door(call, zone)
    about, text = call.about("Volume", volume), f"Extracting volume {volume.name}"
    params: dict[str, Any] = {"machine": machine.id}
    if volume_images.stored(call.tx, volume) is not None:
        return Accepted((), about, text, params, secret=True)
    need_copyable(volume)
    images.need_store(call.tx, zone)
    capture, part = snapshots.new(call.tx, call.ids, volume, volume.name, snapshots.EXTRACT)
    return Accepted((part,), about, text, {**params, "capture": capture}, secret=True)


def _check(call: Call, volume: Row) -> None:
    guest = call.tx.get(tables.machine, volume.machine_id) if volume.machine_id is not None else None
    if guest is not None and (guest.wanted == "running" or machine_rows.state_of(guest) not in ("Stopped", "Error")):
        raise Refused(
            f"Invalid state of the volume with ID: {volume.uuid}. It should be either detached or the VM should be in"
            " stopped state."
        )
    template = call.tx.get(tables.template, volume.template_id) if volume.template_id is not None else None
    if template is not None and not template.is_extractable and not call.caller.is_root:
        raise Refused(f"Volume {volume.name} was made of template {template.name}, which is not extractable", Why.NOT_ALLOWED)


@result("extractVolume")
def _extracted(tx: Tx, job: Row) -> dict[str, Any]:
    volume = tx.get(tables.volume, job.instance_id)
    assert volume is not None
    zone, account = tx.get(tables.zone, volume.zone_id), tx.get(tables.account, volume.account_id)
    machine = image_links.door(tx, volume.zone_id) or tx.get(tables.machine, job.params["machine"])
    found = _captured(tx, volume, job.params["capture"]) if "capture" in job.params else volume_images.stored(tx, volume)
    assert zone is not None and machine is not None and found is not None
    url = image_links.link(tx, results.ticket_key(tx), found, machine)
    return extract("VOLUME", volume, account, zone, url, job.created)


def _captured(tx: Tx, volume: Row, capture_id: int) -> Stored:
    capture = tx.get(tables.snapshot, capture_id)
    assert capture is not None
    store = tx.get(tables.image_store, capture.store_id)
    assert store is not None
    file = image_links.file_name(volume.name, "qcow2")
    return Stored(capture.uuid, capture.sha256, store.uuid, volume.zone_id, file)
