"""extractTemplate and extractIso: an address at which the image can be downloaded for a while, by whoever has it.

The address is made at once, from what is known; nothing is prepared for it anywhere and nothing stays behind. The result
says all there is: it is no object that could be listed.
"""

from typing import Any

from sysvm.api.answers.extracts import MODE, extract
from sysvm.api.call import Accepted, Call, Reply
from sysvm.api.commands.images import images
from sysvm.api.handlers import handler, result
from sysvm.api.results import open_secret
from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.queries import image_links, keys, settings
from sysvm.store.store import Row, Tx


@handler("extractTemplate")
def extract_template(call: Call) -> Reply:
    """The result is ready at once."""
    return _extract(call, images.image_of(call, "id", iso=False), "Template")


@handler("extractIso")
def extract_iso(call: Call) -> Reply:
    """The result is ready at once."""
    return _extract(call, images.image_of(call, "id", iso=True), "Iso")


def _extract(call: Call, row: Row, what: str) -> Reply:
    _check(call, row)
    zone = call.row(tables.zone, "zoneid")
    found = image_links.stored(call.tx, row.id, zone.id if zone is not None else None)
    if not found:
        where = f" in zone {zone.name}" if zone is not None else ""
        raise Refused(f"{what} {row.name} is not downloaded{where}: wait until it is ready")
    copy, store = found[0]
    machine = image_links.door(call.tx, copy.zone_id)
    if machine is None:
        raise Refused("No secondary storage VM of the zone serves its public address now; try again later", Why.UNAVAILABLE)
    key = keys.ticket_key(call.tx, call.vault, call.ids)
    url = image_links.link(call.tx, key, image_links.of_template(row, copy, store), machine)
    params = {"url": call.vault.seal(url), "zone": copy.zone_id, "image": row.id}
    return Accepted((), call.about(what, row), f"Extracting {what} {row.name}", params, secret=True)


def check_mode(call: Call) -> None:
    """Refused unless an address to download from is asked for, by somebody who may have one."""
    if call["mode"].strip().upper() != MODE:
        raise Refused(f"Please specify a valid extract mode: {MODE}; {call['mode']!r} is none that is done here")
    if call.get("url"):
        raise Refused(f"url is where an upload by FTP would go; with mode {MODE} leave it out")
    may_extract(call)


def may_extract(call: Call) -> None:
    """Refused where only administrators may have addresses to download from."""
    if not call.caller.is_root and settings.value(call.tx, "disable.extraction"):
        raise Refused("Extraction has been disabled by admin", Why.NOT_ALLOWED)


def _check(call: Call, row: Row) -> None:
    check_mode(call)
    if call.caller.is_root:
        return
    if row.kind == "SYSTEM" or not row.is_extractable:
        raise Refused(f"{row.name} is not extractable: its isextractable is false", Why.NOT_ALLOWED)


@result("extractTemplate", "extractIso")
def _extracted(tx: Tx, job: Row) -> dict[str, Any]:
    zone, image = tx.get(tables.zone, job.params["zone"]), tx.get(tables.template, job.params["image"])
    account = tx.get(tables.account, image.account_id) if image is not None else None
    assert zone is not None and image is not None
    kind = "ISO" if image.is_iso else "TEMPLATE"
    return extract(kind, image, account, zone, open_secret(job.params["url"]), job.created)
