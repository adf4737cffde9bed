"""Disk offerings: sizes of data volumes."""

from collections.abc import Sequence
from typing import Any

from sysvm.api.answers import offerings as answers
from sysvm.api.call import Call, One, Reply, Rows, Success
from sysvm.api.commands.offerings.service_offerings import other_where, places_of, seen_by, where_for
from sysvm.api.handlers import handler
from sysvm.api.listing import list_rows
from sysvm.api.params import pairs
from sysvm.api.rules import offerings as rules
from sysvm.api.rules import places
from sysvm.basics.errors import Refused
from sysvm.store import tables
from sysvm.store.queries import offerings
from sysvm.store.store import Row, Tx


def _answers(tx: Tx, rows: Sequence[Row]) -> list[dict[str, Any]]:
    found = places_of(tx)
    return [answers.disk_offering(row, found) for row in rows]


def _answer(call: Call, offering_id: int, what: str) -> One:
    row = call.tx.get(tables.disk_offering, offering_id)
    assert row is not None
    return One(_answers(call.tx, [row])[0], call.about("DiskOffering", row), f"{what} disk offering {row.name}")


@handler("createDiskOffering")
def create_disk_offering(call: Call) -> Reply:
    """A new disk offering, of one size or of the user's choice."""
    rules.refuse_unsupported(call.params)
    customized = bool(call.get("customized"))
    size = call.get("disksize")
    if customized and size:
        raise Refused("Disksize is not allowed for a customized disk offering")
    if not customized and not size:
        raise Refused("Disksize is required for a non-customized disk offering")
    if not customized and size < 1:
        raise Refused("The disk size must be at least 1 GB")
    name = places.name(call["name"], "offering")
    details = pairs(call.get("details"))
    if "displayoffering" in call:
        details["displayoffering"] = "true" if call["displayoffering"] else "false"
    offering_id = call.tx.insert(
        tables.disk_offering,
        uuid=call.ids.uuid(),
        name=name,
        display_text=call.get("displaytext") or name,
        size_bytes=rules.disk_bytes(size, what="disk size"),
        customized=customized,
        storage_type=rules.storage_type(call.get("storagetype")),
        provisioning_type=rules.provisioning_type(call.get("provisioningtype")),
        tags=places.tags(call.get("tags")),
        disk_limits=rules.disk_limits(call.params),
        details=details,
        created=call.now,
        **where_for(call),
    )
    return _answer(call, offering_id, "Created")


@handler("listDiskOfferings")
def list_disk_offerings(call: Call) -> Reply:
    """Disk offerings."""
    table = tables.disk_offering
    if call.get("encrypt"):
        return Rows([], 0)
    statement = offerings.disk_offerings().where(*seen_by(call, table))
    volume = call.row(tables.volume, "volumeid")
    if volume is not None and volume.disk_offering_id is not None:
        statement = statement.where(table.c.id != volume.disk_offering_id)
    return list_rows(call, statement, table, _answers, equal={"name": table.c.name})


@handler("updateDiskOffering")
def update_disk_offering(call: Call) -> Reply:
    """Changes names, tags and who may use an offering."""
    offering = call.need(tables.disk_offering, "id")
    rules.refuse_unsupported(call.params)
    changes: dict[str, Any] = {}
    if call.get("name"):
        changes["name"] = places.name(call["name"], "offering")
    if call.get("displaytext"):
        changes["display_text"] = call["displaytext"]
    if "tags" in call:
        changes["tags"] = places.tags(call["tags"])
    if "displayoffering" in call:
        shown = "true" if call["displayoffering"] else "false"
        changes["details"] = {**(offering.details or {}), "displayoffering": shown}
    if any(name in call for name in rules.DISK_LIMITS):
        changes["disk_limits"] = rules.disk_limits(call.params)
    changes |= other_where(call)
    if changes:
        call.tx.update(tables.disk_offering, offering.id, **changes)
    return _answer(call, offering.id, "Changed")


@handler("deleteDiskOffering")
def delete_disk_offering(call: Call) -> Reply:
    """Nobody can choose the offering any more; volumes that have it keep it."""
    offering = call.need(tables.disk_offering, "id")
    call.tx.update(tables.disk_offering, offering.id, removed=call.now, state="Inactive")
    return Success(about=call.about("DiskOffering", offering), description=f"Deleted disk offering {offering.name}")
