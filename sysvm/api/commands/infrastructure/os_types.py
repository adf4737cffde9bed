"""Guest operating systems, and the one region of this cloud."""

import uuid
from typing import Any

import sqlalchemy as sa

from sysvm.api.answers.lists import each
from sysvm.api.call import Call, Reply
from sysvm.api.handlers import handler
from sysvm.api.listing import list_rows, slice_rows
from sysvm.api.params import NONE_UUID
from sysvm.store import tables
from sysvm.store.queries import portable_ips
from sysvm.store.store import Row


def _answer(row: Row) -> dict[str, Any]:
    return {
        "id": row.uuid,
        "name": row.name,
        "description": row.name,
        "oscategoryid": row.category_uuid,
        "isuserdefined": False,
    }


@handler("listOsTypes")
def list_os_types(call: Call) -> Reply:
    """What a guest may be."""
    os = tables.guest_os
    statement = sa.select(os).where(os.c.removed.is_(None)).order_by(os.c.id)
    equal = {"description": os.c.name}
    if (category := call.get("oscategoryid")) and category != NONE_UUID:
        statement = statement.where(os.c.category_uuid == category)
    return list_rows(call, statement, os, each(_without_name), equal=equal, keyword=(os.c.name,))


def _without_name(row: Row) -> dict[str, Any]:
    answer = _answer(row)
    del answer["name"]
    return answer


@handler("listOsCategories")
def list_os_categories(call: Call) -> Reply:
    """Families of operating systems."""
    os = tables.guest_os
    found = sa.select(os.c.category_uuid, os.c.category).where(os.c.removed.is_(None)).distinct().order_by(os.c.category)
    if (wanted := call.get("id")) and wanted != NONE_UUID:
        found = found.where(os.c.category_uuid == wanted)
    if call.get("name"):
        found = found.where(os.c.category == call["name"])
    word = (call.get("keyword") or "").lower()
    rows = [{"id": row.category_uuid, "name": row.category} for row in call.tx.all(found) if word in row.category.lower()]
    return slice_rows(call, rows)


@handler("listRegions")
def list_regions(call: Call) -> Reply:
    """This cloud is one region."""
    row = {
        "id": 1,
        "name": "Local",
        "endpoint": "http://localhost:8080/client/",
        "gslbserviceenabled": False,
        "portableipserviceenabled": bool(call.tx.rows(tables.ip_range, portable_ips.RANGES)),
    }
    wanted = call.get("id") in (None, 1) and (call.get("name") or "Local") == "Local"
    word = (call.get("keyword") or "").lower()
    return slice_rows(call, [row] if wanted and word in "local" else [])


def category_uuid(name: str) -> str:
    """The same id for a category everywhere."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"os category/{name}"))
