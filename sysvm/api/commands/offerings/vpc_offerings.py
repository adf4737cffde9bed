"""VPC offerings: which services VPCs have."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from sysvm.api.answers import offerings as answers
from sysvm.api.call import Accepted, Call, Reply
from sysvm.api.commands.offerings.network_offerings import free_name, offering_state, protocol, router_offering
from sysvm.api.commands.offerings.service_offerings import other_where, places_of, seen_by, where_for
from sysvm.api.handlers import handler, result
from sysvm.api.listing import contains, list_rows
from sysvm.api.rules import services
from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.queries import offerings
from sysvm.store.store import Row, Tx

DEFAULT_SERVICES = ("Dhcp", "Dns", "UserData", "SourceNat", "StaticNat", "PortForwarding", "Lb", "NetworkACL", "Vpn")
ALWAYS = ("SourceNat", "NetworkACL")  # without them there is no VPC: added where they are not asked for


def _answers(tx: Tx, rows: Sequence[Row]) -> list[dict[str, Any]]:
    found = places_of(tx)
    return [answers.vpc_offering(row, found) for row in rows]


@handler("createVPCOffering")
def create_vpc_offering(call: Call) -> Reply:
    """A new VPC offering, disabled unless said."""
    name = free_name(call.tx, tables.vpc_offering, call["name"], "VPC offering")
    protocol(call)
    wanted = [services.service(name) for name in call.get("supportedservices") or DEFAULT_SERVICES]
    offered = services.of_offering(
        [*wanted, *(name for name in ALWAYS if name not in wanted)],
        call.get("serviceproviderlist", ()),
        call.get("servicecapabilitylist", ()),
        shape=services.Shape("Isolated", for_vpc=True),
    )
    service = router_offering(call)
    offering_id = call.tx.insert(
        tables.vpc_offering,
        uuid=call.ids.uuid(),
        name=name,
        display_text=call.get("displaytext") or name,
        state="Enabled" if call.get("enable") else "Disabled",
        redundant=offered.redundant,
        service_offering_id=service.id if service is not None else None,
        services=offered.rows,
        created=call.now,
        **where_for(call),
    )
    row = call.tx.get(tables.vpc_offering, offering_id)
    assert row is not None
    return Accepted((), call.about("VpcOffering", row), f"Creating VPC offering {name}")


@result("createVPCOffering", "updateVPCOffering")
def _result(tx: Tx, job: Row) -> dict[str, Any]:
    row = tx.get(tables.vpc_offering, job.instance_id)
    return _answers(tx, [row])[0] if row is not None else {}


@handler("listVPCOfferings")
def list_vpc_offerings(call: Call) -> Reply:
    """VPC offerings; users see the enabled ones."""
    table = tables.vpc_offering
    statement = offerings.vpc_offerings().where(*seen_by(call, table))
    if not call.caller.is_root:
        statement = statement.where(table.c.state == "Enabled")
    if "isdefault" in call:
        statement = statement.where(table.c.is_default.is_(call["isdefault"]))
    if call.get("state"):
        statement = statement.where(table.c.state == offering_state(call["state"]))
    for name in call.get("supportedservices", ()):
        statement = statement.where(contains(sa.cast(table.c.services, sa.Text), f'"{services.service(name)}"'))
    equal = {"name": table.c.name, "displaytext": table.c.display_text}
    return list_rows(call, statement, table, _answers, equal=equal)


@handler("updateVPCOffering")
def update_vpc_offering(call: Call) -> Reply:
    """Enables or disables an offering, or changes its names and who may use it."""
    offering = call.need(tables.vpc_offering, "id")
    changes: dict[str, Any] = {}
    if call.get("name"):
        changes["name"] = free_name(call.tx, tables.vpc_offering, call["name"], "VPC offering", offering.id)
    if call.get("displaytext"):
        changes["display_text"] = call["displaytext"]
    if call.get("state"):
        changes["state"] = offering_state(call["state"])
    changes |= other_where(call)
    if changes:
        call.tx.update(tables.vpc_offering, offering.id, **changes)
    return Accepted((), call.about("VpcOffering", offering), f"Changing VPC offering {offering.name}")


@handler("deleteVPCOffering")
def delete_vpc_offering(call: Call) -> Reply:
    """Removes an offering that is no default."""
    offering = call.need(tables.vpc_offering, "id")
    if offering.is_default:
        raise Refused("Default VPC offering can't be deleted", Why.IN_USE)
    call.tx.update(tables.vpc_offering, offering.id, removed=call.now, state="Disabled")
    return Accepted((), call.about("VpcOffering", offering), f"Deleting VPC offering {offering.name}")
