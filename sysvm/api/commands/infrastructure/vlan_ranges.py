"""Guest VLANs (or VNIs) of a physical network that one account has for its own networks: nobody else's network gets one of
them, and its own networks get others only while `use.system.guest.vlans` lets them."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from sysvm.api import errors
from sysvm.api.answers.owners import owner, without_empty
from sysvm.api.call import Accepted, Call, One, Owner, Reply
from sysvm.api.handlers import handler
from sysvm.api.listing import list_rows
from sysvm.api.rules import ranges
from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.queries import vlan_ranges
from sysvm.store.store import Row, Tx

ABOUT = "GuestVlanRange"


@handler("dedicateGuestVlanRange")
def dedicate_guest_vlan_range(call: Call) -> Reply:
    """Gives an account a part of what the physical network has, in which no other account has a network."""
    physical = call.need(tables.physical_network, "physicalnetworkid")
    if "account" not in call and "projectid" not in call:
        raise errors.missing(call.command.name, "account")
    whose, (first, last) = call.owner(), _span(call["vlanrange"])
    if not all(ranges.in_vnet(str(end), physical.vlan) for end in (first, last)) or not _is_whole(physical, first, last):
        raise Refused(f"The vlan range {first}-{last} is not within {physical.vlan} of physical network {physical.name}")
    for other in vlan_ranges.of_physical_network(call.tx, physical.id):
        if first <= other.last and other.first <= last:
            raise Refused(f"The vlan range {first}-{last} overlaps {other.first}-{other.last}, which is dedicated already")
    _is_nobody_elses(call.tx, physical, whose, first, last)
    id_ = call.tx.insert(
        tables.guest_vlan_range, uuid=call.ids.uuid(), physical_network_id=physical.id, first=first, last=last,
        created=call.now, **whose.columns,
    )  # fmt: skip
    row = call.tx.one(vlan_ranges.statement().where(tables.guest_vlan_range.c.id == id_))
    assert row is not None
    return One(_answer(row), call.about(ABOUT, row), f"dedicating guest vlan range {first}-{last}")


def _span(text: str) -> tuple[int, int]:
    parts = ranges.vnet(text).split(",")
    if len(parts) != 1 or not parts[0]:
        raise Refused(f"Invalid format for parameter value vlanrange {text}: expected one range such as 100-120")
    first, _, last = parts[0].partition("-")
    return int(first), int(last)


def _is_whole(physical: Row, first: int, last: int) -> bool:
    """Whether one part of the physical network's ranges holds it all."""
    pairs = [part.partition("-") for part in physical.vlan.split(",") if part]
    return any(int(low) <= first and last <= int(high or low) for low, _, high in pairs)


def _is_nobody_elses(tx: Tx, physical: Row, whose: Owner, first: int, last: int) -> None:
    network = tables.network.c
    others = (network.physical_network_id == physical.id, network.removed.is_(None), network.account_id != whose.account_id)
    found = tx.one(sa.select(network.name, network.tag).where(*others, network.tag >= first, network.tag <= last).limit(1))
    if found is not None:
        raise Refused(f"The vlan {found.tag} of the range is used by network {found.name} of another account", Why.IN_USE)


@handler("listDedicatedGuestVlanRanges")
def list_dedicated_guest_vlan_ranges(call: Call) -> Reply:
    """Who has which."""
    table, physical = tables.guest_vlan_range, tables.physical_network
    statement = vlan_ranges.statement()
    if call.get("guestvlanrange"):
        first, last = _span(call["guestvlanrange"])
        statement = statement.where(table.c.first == first, table.c.last == last)
    if not call.get("account") and not call.get("projectid"):
        call.params.setdefault("listall", True)  # it is an operator's list
    refs = {"physicalnetworkid": (physical, table.c.physical_network_id), "zoneid": (tables.zone, physical.c.zone_id)}
    return list_rows(call, statement, table, _answers, refs=refs)


def _answers(_tx: Tx, rows: Sequence[Row]) -> list[dict[str, Any]]:
    return [_answer(row) for row in rows]


def _answer(row: Row) -> dict[str, Any]:
    mine = owner(row)
    mine.pop("domainpath", None)
    numbers = {"physicalnetworkid": row.physical_network_id, "zoneid": row.zone_id}  # numbers, as CloudStack has it
    return without_empty({"id": row.uuid, "guestvlanrange": f"{row.first}-{row.last}", **mine, **numbers})


@handler("releaseDedicatedGuestVlanRange")
def release_dedicated_guest_vlan_range(call: Call) -> Reply:
    """It is nobody's again; networks that have its VLANs keep them."""
    row = call.need(tables.guest_vlan_range, "id")
    call.tx.update(tables.guest_vlan_range, row.id, removed=call.now)
    return Accepted((), call.about(ABOUT, row), f"Releasing a dedicated guest vlan range {row.first}-{row.last}")
