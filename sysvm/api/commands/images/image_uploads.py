"""getUploadParamsForTemplate and getUploadParamsForIso: an image whose bytes a client brings itself.

The row is made as for a registered one, and its copy waits for an upload instead of a download: the copy's turn asks a
secondary storage VM to take it, and gives up when `upload.operation.timeout` is over. The client posts the file to `postURL`
with the headers X-signature, X-metadata and X-expires; only what the server signed is taken.
"""

import base64
import json
from datetime import UTC, datetime
from typing import Any

from sysvm.api.call import Call, One, Reply
from sysvm.api.commands.images import images
from sysvm.api.handlers import handler
from sysvm.api.params import pairs
from sysvm.api.rules import images as rules
from sysvm.api.rules import places
from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.queries import image_links, keys, settings
from sysvm.store.store import Row
from sysvm.wire.grants import sign_upload


@handler("getUploadParamsForTemplate", reads=False)
def upload_params_for_template(call: Call) -> Reply:
    """Makes the template, and says how its bytes are brought."""
    root = call.caller.is_root
    hypervisor = places.hypervisor(call["hypervisor"], simulated=True)
    if call.get("deployasis"):
        raise Refused("Deploy-as-is is not supported yet: leave deployasis out")
    if call.get("templatetag") and not root:
        raise Refused("Parameter templatetag can only be specified by a Root Admin, permission denied", Why.NOT_ALLOWED)
    return _prepared(
        call,
        format=rules.image_format(call["format"], hypervisor),
        kind=rules.kind(None, call.get("isrouting"), root=root),
        hypervisor=hypervisor,
        bits=images.bits(call),
        requires_hvm=call.get("requireshvm", True),
        ssh_key_enabled=bool(call.get("sshkeyenabled")),
        tag=call.get("templatetag") or "",
        details=pairs(call.get("details")),
    )


@handler("getUploadParamsForIso", reads=False)
def upload_params_for_iso(call: Call) -> Reply:
    """Makes the ISO, and says how its bytes are brought."""
    if call["format"].strip().upper() != "ISO":
        raise Refused(f"The format of an ISO is ISO, not {call['format']}")
    bootable = call.get("bootable", True)
    return _prepared(call, format="ISO", kind="USER", hypervisor="None", is_iso=True, is_bootable=bootable)


def _prepared(call: Call, **columns: Any) -> Reply:
    where = images.zones_of(call)
    if not where:
        raise Refused("An upload goes to one zone: give its zoneid; copyTemplate or copyIso brings it to others")
    machine = the_door(call, where[0])
    template = call.tx.get(tables.template, images.new_image(call, where, **columns))
    assert template is not None
    return One(params_of(call, template, machine))


def the_door(call: Call, zone: Row) -> Row:
    """The secondary storage VM that an upload is sent to."""
    machine = image_links.door(call.tx, zone.id)
    if machine is None:
        raise Refused("No secondary storage VM of the zone serves its public address now; try again later", Why.UNAVAILABLE)
    return machine


def params_of(call: Call, template: Row, machine: Row) -> dict[str, Any]:
    """What a client has to show with the bytes. Its copy waits for them from now on."""
    (copy,) = call.tx.rows(tables.template_copy, "template_id = :template", template=template.id)
    call.tx.update(tables.template_copy, copy.id, state=image_links.UPLOADING[0], machine_id=machine.id)
    expires = datetime.fromtimestamp(image_links.upload_until(call.tx, copy), UTC).isoformat(timespec="milliseconds")
    metadata = base64.b64encode(json.dumps({"image": template.uuid, "name": template.name}).encode()).decode()
    path = f"/upload/{template.uuid}"
    key = keys.ticket_key(call.tx, call.vault, call.ids)
    secure = bool(settings.value(call.tx, "use.https.to.upload"))
    return {
        "id": template.uuid,
        "postURL": image_links.root(call.tx, machine, secure=secure) + path,
        "metadata": metadata,
        "expires": expires,
        "signature": sign_upload(key, (path, metadata, expires)),
    }
