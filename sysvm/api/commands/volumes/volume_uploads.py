"""uploadVolume and getUploadParamsForVolume: a volume whose bytes come from a URL, or from the client itself.

They come to an image store of the zone in the way of templates (store/queries/volume_images.py), which the volume's state tells:
UploadOp or NotUploaded, then Uploaded. The host of the guest that it is attached to makes the volume of them.
"""

from typing import Any

from sysvm.api.call import Accepted, Call, One, Reply
from sysvm.api.commands.images import images
from sysvm.api.commands.images.image_uploads import params_of, the_door
from sysvm.api.commands.volumes.volumes import disk_offering
from sysvm.api.handlers import handler
from sysvm.api.rules import images as image_rules
from sysvm.api.rules import places
from sysvm.api.rules import volumes as rules
from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.queries import limits, volume_images
from sysvm.store.queries.limits import Kind as Limit
from sysvm.store.store import Row


@handler("uploadVolume")
def upload_volume(call: Call) -> Reply:
    """The job is done when the bytes are on their way; the volume's state says when they are there."""
    form = rules.upload_format(call["format"])
    url = image_rules.url(call["url"], form, root=call.caller.is_root)
    volume = _new(call, "UploadOp", form, url=url)
    return Accepted((), call.about("Volume", volume), f"uploading volume: {volume.name}")


@handler("getUploadParamsForVolume", reads=False)
def upload_params_for_volume(call: Call) -> Reply:
    """Makes the volume, and says how its bytes are brought."""
    machine = the_door(call, call.need(tables.zone, "zoneid"))
    volume = _new(call, "NotUploaded", rules.upload_format(call["format"]))
    image = call.tx.get(tables.template, volume.image_id)
    assert image is not None
    return One(params_of(call, image, machine), call.about("Volume", volume), f"uploading volume: {volume.name}")


def _new(call: Call, state: str, form: str, **image: Any) -> Row:
    zone = call.need(tables.zone, "zoneid")
    if zone.allocation_state == "Disabled" and not call.caller.is_root:
        raise Refused(f"Cannot perform this operation, Zone is currently disabled: {zone.name}", Why.NOT_ALLOWED)
    images.need_store(call.tx, zone)
    offering = disk_offering(call, zone, call.owner())
    if offering is not None and not offering.customized:
        raise Refused(f"Disk offering {offering.name} has a size of its own; an uploaded volume takes a custom one")
    owner = call.owner()
    limits.check_limit(call.tx, owner.account_id, Limit.VOLUMES)
    id_ = call.tx.insert(
        tables.volume,
        uuid=call.ids.uuid(),
        name=places.name(call["name"], "volume"),
        type="DATADISK",
        zone_id=zone.id,
        device=None,
        disk_offering_id=offering.id if offering is not None else None,
        state=state,
        created=call.now,
        **owner.columns,
    )
    volume = call.tx.get(tables.volume, id_)
    assert volume is not None
    checksum = image_rules.checksum(call.get("checksum"))
    copy = volume_images.new(call.tx, volume, format=form, checksum=checksum, is_extractable=True, **image)
    if call.get("imagestoreuuid"):
        store = call.find(tables.image_store, call["imagestoreuuid"], "imagestoreuuid")
        if store.zone_id != zone.id or store.read_only:
            raise Refused(f"Image store {store.name} is no writable one of zone {zone.name}")
        call.tx.update(tables.template_copy, copy, store_id=store.id)
    volume = call.tx.get(tables.volume, id_)
    assert volume is not None
    return volume
