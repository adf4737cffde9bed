"""Affinity groups and instance groups as answers show them."""

from collections.abc import Sequence
from typing import Any

from sysvm.api.answers.owners import owner, without_empty
from sysvm.api.answers.times import stamp
from sysvm.store.store import Row


def affinity_group(row: Row, guests: Sequence[str] | None = None) -> dict[str, Any]:
    """A group, with its guests where they are asked for."""
    mine = owner(row)
    mine.pop("domainpath", None)
    named = {"id": row.uuid, "name": row.name, "type": row.type, "description": row.description}
    return without_empty({**named, **mine, "virtualmachineIds": list(guests) if guests is not None else None})


def instance_group(row: Row) -> dict[str, Any]:
    """A name of guests that belong together."""
    mine = owner(row)
    mine.pop("domainpath", None)
    return {"id": row.uuid, "name": row.name, "created": stamp(row.created), **mine}
