"""Network offerings: which services networks have, who provides them, and with which routers."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from sysvm.api.answers import offerings as answers
from sysvm.api.call import Call, One, Reply, Success
from sysvm.api.commands.offerings.service_offerings import other_where, places_of, seen_by, where_for
from sysvm.api.handlers import handler
from sysvm.api.listing import contains, list_rows
from sysvm.api.params import pairs
from sysvm.api.rules import places, services
from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.queries import offerings, prefixes6, settings
from sysvm.store.store import Row, Tx

STATES = {"enabled": "Enabled", "disabled": "Disabled"}
AVAILABILITY = {"optional": "Optional", "required": "Required"}
PROTOCOLS = ("ipv4",)


def _answers(tx: Tx, rows: Sequence[Row]) -> list[dict[str, Any]]:
    found = places_of(tx)
    return [answers.network_offering(row, found) for row in rows]


def _answer(call: Call, offering_id: int, what: str) -> One:
    row = call.tx.one(offerings.network_offerings().where(tables.network_offering.c.id == offering_id))
    assert row is not None
    return One(_answers(call.tx, [row])[0], call.about("NetworkOffering", row), f"{what} network offering {row.name}")


def free_name(tx: Tx, table: sa.Table, name: str, what: str, but: int | None = None) -> str:
    """The name, if no other offering of the table has it: default networks are chosen by it."""
    wanted = places.name(name, what)
    same = tx.one(sa.select(table.c.id).where(table.c.name == wanted, table.c.removed.is_(None)))
    if same is not None and same.id != but:
        raise Refused(f"A {what} with name {wanted} already exists")
    return wanted


def router_offering(call: Call) -> Row | None:
    """The system offering of the routers, which must be one of routers."""
    service = call.row(tables.service_offering, "serviceofferingid")
    if service is None:
        return None
    if not service.is_system or service.system_vm_type != "domainrouter":
        raise Refused(
            f"The service offering {service.name} is not a system offering for routers (issystem=true, systemvmtype=domainrouter)"
        )
    return service


def protocol(call: Call) -> None:
    """IPv4, until routers of VPCs do more."""
    if (wanted := call.get("internetprotocol")) and wanted.lower() not in PROTOCOLS:
        raise Refused(f"The internet protocol {wanted!r} is not supported yet; it is ipv4")


def _dual(call: Call, shape: services.Shape, offered: services.Services) -> bool:
    """Whether networks have IPv6 beside IPv4, if that can be."""
    wanted = (call.get("internetprotocol") or "ipv4").lower()
    if wanted in PROTOCOLS:
        return False
    if wanted != prefixes6.DUAL.lower():
        raise Refused(f"Invalid internetprotocol {call['internetprotocol']}; it is ipv4 or dualstack")
    if not settings.value(call.tx, "ipv6.offering.enabled"):
        raise Refused("Dual stack offerings are off; set ipv6.offering.enabled to true first")
    if shape.for_vpc or shape.guest_type == "L2":
        raise Refused("Dual stack offerings are for networks of type Isolated outside of VPCs, or Shared")
    lost = [name for name in ("Dhcp", "SourceNat", "Firewall") if name not in offered.rows]
    if shape.guest_type == "Isolated" and lost:
        raise Refused(f"A dual stack offering of type Isolated needs the service {lost[0]}: its router serves IPv6")
    if offered.redundant:
        raise Refused("Dual stack networks have one router; leave the capability RedundantRouter out")
    return True


@handler("createNetworkOffering")
def create_network_offering(call: Call) -> Reply:
    """A new network offering, disabled unless said."""
    name = free_name(call.tx, tables.network_offering, call["name"], "network offering")
    shape = _shape(call)
    offered = services.of_offering(
        call.get("supportedservices", ()),
        call.get("serviceproviderlist", ()),
        call.get("servicecapabilitylist", ()),
        shape=shape,
    )
    service = router_offering(call)
    details = pairs(call.get("details"))
    details.pop(prefixes6.PROTOCOL, None)
    if _dual(call, shape, offered):
        details[prefixes6.PROTOCOL] = prefixes6.DUAL
    if call.get("keepaliveenabled"):
        details["keepaliveenabled"] = "true"
    offering_id = call.tx.insert(
        tables.network_offering,
        uuid=call.ids.uuid(),
        name=name,
        display_text=call.get("displaytext") or name,
        guest_type=shape.guest_type,
        state="Enabled" if call.get("enable") else "Disabled",
        availability=_availability(call.get("availability")),
        conserve_mode="true" if call.get("conservemode", True) else "false",
        specify_vlan=shape.specify_vlan,
        specify_ip_ranges=shape.specify_ip_ranges,
        is_persistent=shape.persistent,
        for_vpc=shape.for_vpc,
        egress_default_allow=bool(call.get("egressdefaultpolicy")),
        service_offering_id=service.id if service is not None else None,
        network_rate=_positive(call, "networkrate"),
        max_connections=_positive(call, "maxconnections"),
        tags=places.tags(call.get("tags")),
        services=offered.rows,
        details=details,
        created=call.now,
        **where_for(call),
    )
    return _answer(call, offering_id, "Created")


def _shape(call: Call) -> services.Shape:
    """The kind of network, if it is one that can be made."""
    if str(call["traffictype"]).strip().lower() != "guest":
        raise Refused("Invalid value for traffictype. Supported traffic type is Guest")
    shape = services.Shape(
        services.guest_type(call["guestiptype"]),
        for_vpc=bool(call.get("forvpc")),
        specify_vlan=bool(call.get("specifyvlan")),
        specify_ip_ranges=bool(call.get("specifyipranges")),
        persistent=bool(call.get("ispersistent")),
    )
    services.check_shape(shape)
    if call.get("fortungsten"):
        raise Refused("Tungsten Fabric is not supported")
    if call.get("egressdefaultpolicy") and shape.guest_type == "Shared":
        raise Refused("egressDefaultPolicy can be set for networks of type Isolated with service Firewall only")
    return shape


def _availability(text: str | None) -> str:
    found = AVAILABILITY.get((text or "Optional").strip().lower())
    if found is None:
        raise Refused("Invalid value for Availability. Supported types: Required and Optional")
    return found


def _positive(call: Call, name: str) -> int | None:
    value: int | None = call.get(name)
    if value is not None and value < 0:
        raise Refused(f"{name} can't be negative")
    return value


@handler("listNetworkOfferings")
def list_network_offerings(call: Call) -> Reply:
    """Network offerings; users see the enabled ones."""
    table = tables.network_offering
    statement = offerings.network_offerings().where(*seen_by(call, table))
    if not call.caller.is_root:
        statement = statement.where(table.c.state == "Enabled")
    flags = {
        "isdefault": table.c.is_default,
        "specifyvlan": table.c.specify_vlan,
        "specifyipranges": table.c.specify_ip_ranges,
        "forvpc": table.c.for_vpc,
    }
    for name, column in flags.items():
        if name in call:
            statement = statement.where(column.is_(call[name]))
    if "istagged" in call:
        statement = statement.where(table.c.tags != "" if call["istagged"] else table.c.tags == "")
    for name, offered in _wanted_services(call).items():
        named = contains(sa.cast(table.c.services, sa.Text), f'"{name}"')
        statement = statement.where(named if offered else sa.not_(named))
    if (network := call.row(tables.network, "networkid")) is not None:
        statement = statement.where(*_instead_of(call.tx, network))
    for name, known in (("state", STATES), ("availability", AVAILABILITY), ("guestiptype", services.GUEST_TYPES)):
        if word := call.get(name):
            column = {"state": table.c.state, "availability": table.c.availability, "guestiptype": table.c.guest_type}[name]
            statement = statement.where(column == known.get(word.strip().lower(), word))
    equal = {
        "name": table.c.name,
        "displaytext": table.c.display_text,
        "tags": table.c.tags,
        "traffictype": table.c.traffic_type,
    }
    return list_rows(call, statement, table, _answers, equal=equal)


def _wanted_services(call: Call) -> dict[str, bool]:
    found = {services.service(name): True for name in call.get("supportedservices", ())}
    if "sourcenatsupported" in call:
        found["SourceNat"] = call["sourcenatsupported"]
    return found


def _instead_of(tx: Tx, network: Row) -> list[sa.ColumnElement[bool]]:
    """Offerings to which a network can be moved."""
    table = tables.network_offering
    now = tx.get(table, network.offering_id)
    assert now is not None
    return [
        table.c.id != now.id,
        table.c.guest_type == now.guest_type,
        table.c.for_vpc.is_(now.for_vpc),
        table.c.specify_vlan.is_(now.specify_vlan),
        table.c.state == "Enabled",
    ]


@handler("updateNetworkOffering")
def update_network_offering(call: Call) -> Reply:
    """Enables or disables an offering, or changes its names and who may use it."""
    offering = call.need(tables.network_offering, "id")
    changes: dict[str, Any] = {}
    if call.get("name"):
        changes["name"] = free_name(call.tx, tables.network_offering, call["name"], "network offering", offering.id)
    if call.get("displaytext"):
        changes["display_text"] = call["displaytext"]
    if call.get("availability"):
        changes["availability"] = _availability(call["availability"])
    if call.get("state"):
        changes["state"] = offering_state(call["state"])
    if "tags" in call:
        changes["tags"] = places.tags(call["tags"])
    if "maxconnections" in call:
        changes["max_connections"] = _positive(call, "maxconnections")
    if "keepaliveenabled" in call:
        alive = {"keepaliveenabled": "true" if call["keepaliveenabled"] else "false"}
        changes["details"] = {**(offering.details or {}), **alive}
    changes |= other_where(call)
    if changes:
        call.tx.update(tables.network_offering, offering.id, **changes)
    return _answer(call, offering.id, "Changed")


def offering_state(text: str) -> str:
    """Enabled or Disabled."""
    found = STATES.get(text.strip().lower())
    if found is None:
        raise Refused(f"Incorrect state value: {text}; it is Enabled or Disabled")
    return found


@handler("deleteNetworkOffering")
def delete_network_offering(call: Call) -> Reply:
    """Removes an offering that no network has."""
    offering = call.need(tables.network_offering, "id")
    if offering.is_default:
        raise Refused("Default network offering can't be deleted")
    network = tables.network
    if count := offerings.uses(call.tx, network, network.c.offering_id == offering.id):
        raise Refused(
            f"Can't delete network offering {offering.name} as its used by {count} networks. To make the network offering "
            "unavailable, disable it",
            Why.IN_USE,
        )
    call.tx.update(tables.network_offering, offering.id, removed=call.now, state="Disabled")
    return Success(about=call.about("NetworkOffering", offering), description=f"Deleted network offering {offering.name}")
