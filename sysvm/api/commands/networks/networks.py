"""Guest networks: list, restart, update, delete; making them is in commands/network_making.

A network is only rows until its first guest: its turn makes routers, and removes them when nobody uses it.
"""

from typing import Any

import sqlalchemy as sa

from sysvm.api.answers import networks as answers
from sysvm.api.call import Accepted, Call, Reply, Rows
from sysvm.api.commands.owned import is_admin, is_admins
from sysvm.api.handlers import handler, result
from sysvm.api.listing import contains, fetch, tags_of, visible
from sysvm.api.rules import subnets
from sysvm.api.rules.services import is_redundant
from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.queries import internal_lbs, load_balancers, machines, networks, prefixes6, private_gateways, turns
from sysvm.store.queries.jobs import Part
from sysvm.store.store import Row, Tx

ABOUT = "Network"


def usable_network(call: Call, uuid: str, name: str) -> Row:
    """A network that the caller may put guests on: their own, or one that is shared with their domain."""
    row = call.find(tables.network, uuid, name, check=False)
    check_usable(call, row)
    return row


def check_usable(call: Call, row: Row) -> None:
    """Refused (531) when a network is neither the caller's nor shared with their domain."""
    if row.acl_type == "Domain" and f"/{row.domain_id}/" in call.caller.domain_path:
        return
    call.check_access(tables.network, row)


def answer(tx: Tx, network_id: int, *, admin: bool) -> dict[str, Any]:
    """One network with its tags."""
    found = answers.network(networks.one(tx, network_id), admin=admin)
    return {**found, "tags": tags_of(tx, ABOUT, [network_id]).get(network_id, [])}


# ---------------------------------------------------------------- list
@handler("listNetworks")
def list_networks(call: Call) -> Reply:
    """The caller's networks, and those that are shared with their domain."""
    statement = networks.statement().where(_seen(call), *_filters(call)).order_by(tables.network.c.id)
    rows, count = fetch(call, statement)
    tags = tags_of(call.tx, ABOUT, [row.id for row in rows])
    admin = is_admin(call.caller)
    return Rows([{**answers.network(row, admin=admin), "tags": tags.get(row.id, [])} for row in rows], count)


def _seen(call: Call) -> sa.ColumnElement[bool]:
    own = sa.and_(sa.true(), *visible(call, tables.network))
    narrowed = any(call.get(name) for name in ("account", "domainid", "projectid"))
    kind = (call.get("networkfilter") or "all").lower()
    if narrowed or kind == "account":
        return own
    shared = networks.shared_with(call.caller.domain_path)
    return shared if kind in ("domain", "shared") else sa.or_(own, shared)


def _filters(call: Call) -> list[sa.ColumnElement[bool]]:
    network = tables.network.c
    found: list[sa.ColumnElement[bool]] = []
    if call.get("id"):
        found.append(network.id == usable_network(call, call["id"], "id").id)
    for name, table, column in (
        ("zoneid", tables.zone, network.zone_id),
        ("physicalnetworkid", tables.physical_network, network.physical_network_id),
        ("networkofferingid", tables.network_offering, network.offering_id),
        ("vpcid", tables.vpc, network.vpc_id),
    ):
        if (of := call.row(table, name)) is not None:
            found.append(column == of.id)
    for name, column in (
        ("type", network.guest_type),
        ("traffictype", network.traffic_type),
        ("acltype", network.acl_type),
    ):
        if call.get(name):
            found.append(sa.func.lower(column) == call[name].lower())
    return found + _yes_or_no(call) + _words(call)


def _yes_or_no(call: Call) -> list[sa.ColumnElement[bool]]:
    network, offering = tables.network.c, tables.network_offering.c
    found: list[sa.ColumnElement[bool]] = []
    for name, column in (
        ("restartrequired", network.restart_required),
        ("specifyipranges", offering.specify_ip_ranges),
    ):
        if name in call:
            found.append(column.is_(call[name]))
    if "canusefordeploy" in call:
        usable = network.state.in_(answers.DEPLOYABLE)
        found.append(usable if call["canusefordeploy"] else sa.not_(usable))
    if "forvpc" in call:
        found.append(network.vpc_id.is_not(None) if call["forvpc"] else network.vpc_id.is_(None))
    if call.get("issystem"):
        found.append(sa.false())  # system networks have no rows
    return found


def _words(call: Call) -> list[sa.ColumnElement[bool]]:
    network = tables.network.c
    found: list[sa.ColumnElement[bool]] = []
    if call.get("vlan"):
        found.append(network.tag == subnets.vlan_tag(call["vlan"]))
    if word := call.get("keyword"):
        found.append(sa.or_(contains(network.name, word), contains(network.display_text, word)))
    for service in call.get("supportedservices", ()):
        found.append(contains(sa.cast(tables.network_offering.c.services, sa.Text), f'"{service}"'))
    return found


# ---------------------------------------------------------------- restart
@handler("restartNetwork")
def restart_network(call: Call) -> Reply:
    """Everything of the network is made true again; with cleanup its routers live their next incarnation."""
    row = call.need(tables.network, "id")
    if row.state not in networks.LIVE:
        raise Refused("Network is not in the right state to be restarted. Correct states are: Implemented, Setup")
    if row.vpc_id is not None and call.get("cleanup"):
        raise Refused("Cannot restart a VPC tier with cleanup, please restart the whole VPC.")
    redundant = bool(call.get("makeredundant"))
    if redundant:
        _check_redundancy(call.tx, row)
    changes: dict[str, Any] = {"restart_required": False}
    if redundant:
        changes["redundant"] = True  # the network's turn makes a pair of the router that serves
    call.tx.update(tables.network, row.id, **changes)
    parts: tuple[Part, ...] = ()
    if call.get("cleanup"):
        parts = tuple(machines.replace(call.tx, router) for router in machines.routers_of(call.tx, row.id))
    else:
        parts = _start_stopped(call.tx, row) + machines.wish_documents(call.tx, row.id)
        parts += internal_lbs.restart(call.tx, row.id, cleanup=False)
    if networks.is_needed(call.tx, row):
        parts = (*parts, networks.implement(call.tx, row.id))
    return Accepted(parts, call.about(ABOUT, row), f"restarting network: {row.uuid}")


def _start_stopped(tx: Tx, row: Row) -> tuple[Part, ...]:
    stopped = [router for router in machines.routers_of(tx, row.id) if router.wanted == "stopped"]
    return tuple(machines.want(tx, router, "running") for router in stopped)


def _check_redundancy(tx: Tx, row: Row) -> None:
    offering = tx.get(tables.network_offering, row.offering_id)
    assert offering is not None
    if not is_redundant(offering):
        raise Refused(f"Redundant router is not supported by the network offering {offering.name}")
    _check_addresses(row)


# ---------------------------------------------------------------- delete
@handler("deleteNetwork")
def delete_network(call: Call) -> Reply:
    """Gone with its routers, rules and public addresses; refused while guests are on it."""
    row = call.need(tables.network, "id")
    guests = networks.guests_on(call.tx, row.id)
    if guests:
        raise Refused(
            f"Can't delete the network, not all user vms are expunged. Network {row.name} has {guests} of them.",
            Why.IN_USE,
        )
    if gateways := private_gateways.of_network(call.tx, row.id):
        text = f"Can't delete the network: it is associated with {len(gateways)} private gateways. Network {row.name}"
        raise Refused(text, Why.IN_USE)
    call.tx.update(tables.network, row.id, state="Destroy")
    part = Part("network", row.id, turns.wish(call.tx, "network", row.id), "gone")
    return Accepted((part,), call.about(ABOUT, row), f"Deleting network: {row.uuid}")


# ---------------------------------------------------------------- update
@handler("updateNetwork")
def update_network(call: Call) -> Reply:
    """Names, DNS, the part of its CIDR that guests use, or another offering."""
    row = call.need(tables.network, "id")
    changes: dict[str, Any] = {}
    for name, column in (("name", "name"), ("displaytext", "display_text"), ("dns1", "dns1"), ("dns2", "dns2")):
        if name in call:
            changes[column] = call[name]
    if call.get("networkdomain"):
        changes["domain_name"] = _changed_domain(call, row)
    if call.get("guestvmcidr"):
        changes |= _guest_part(call, row)
    offering = call.row(tables.network_offering, "networkofferingid")
    moved = offering is not None and offering.id != row.offering_id
    if moved:
        assert offering is not None
        changes |= other_offering(call.tx, row, offering)
    call.tx.update(tables.network, row.id, **(changes or {"name": row.name}))
    if offering is not None and prefixes6.is_dual(offering) and not row.ip6_cidr:
        prefixes6.join(call.tx, row.id)
    return Accepted(_parts(call.tx, row, moved), call.about(ABOUT, row), f"Updating network: {row.uuid}")


def _parts(tx: Tx, row: Row, moved: bool) -> tuple[Part, ...]:
    if row.state not in networks.LIVE:
        return ()
    if moved:
        replaced = tuple(machines.replace(tx, router) for router in machines.routers_of(tx, row.id))
        return (*replaced, networks.implement(tx, row.id))
    return machines.wish_documents(tx, row.id)


def _changed_domain(call: Call, row: Row) -> str:
    if networks.guests_on(call.tx, row.id):
        raise Refused("Cannot update network domain: the network has running or stopped instances")
    return subnets.check_domain(call["networkdomain"])


def _guest_part(call: Call, row: Row) -> dict[str, Any]:
    if row.guest_type != "Isolated":
        raise Refused("IP Reservation is supported only for networks of guest type Isolated")
    first, last, rest = subnets.guest_part(row.cidr, call["guestvmcidr"])
    book = tables.nic_address.c
    outside = sa.select(book.id).where(
        book.network_id == row.id,
        book.removed.is_(None),
        book.address != tables.pack_address(row.gateway),
        sa.or_(book.address < tables.pack_address(first), book.address > tables.pack_address(last)),
    )
    if call.tx.one(outside.limit(1)) is not None:
        raise Refused("IP reservation can not be applied: a guest has an address outside the Guest VM CIDR")
    return {"reserved_range": rest, "first": tables.pack_address(first), "last": tables.pack_address(last)}


def other_offering(tx: Tx, row: Row, offering: Row) -> dict[str, Any]:
    """The columns of a network that goes over to another offering, if all that it has fits that."""
    if offering.state != "Enabled":
        raise Refused(f"Network offering {offering.name} is not in Enabled state, can't upgrade to it")
    if bool(offering.for_vpc) != (row.vpc_id is not None):
        raise Refused("Network offering of a VPC's network must be for VPCs, and of another network must not")
    if offering.guest_type != row.guest_type:
        raise Refused("Network offering guest type of the network can't be changed")
    if row.ip6_cidr and row.guest_type == "Isolated" and not prefixes6.is_dual(offering):
        raise Refused(f"Network {row.name} has IPv6 and offering {offering.name} has not; guests would lose their addresses")
    lost = networks.services(tx, row) - frozenset(offering.services or {})
    rules = tables.firewall_rule.c
    needed = {
        "Firewall": ("Firewall",),
        "PortForwarding": ("PortForwarding",),
        "Lb": ("LoadBalancing",),
        "StaticNat": ("StaticNat",),
        "Vpn": ("Vpn", "WireGuard"),
    }
    for service in sorted(lost & set(needed)):
        used = sa.select(rules.id).where(rules.network_id == row.id, rules.purpose.in_(needed[service]), rules.removed.is_(None))
        if tx.one(used.limit(1)) is not None:
            raise Refused(f"Network offering {offering.name} lacks {service}, but the network has such rules", Why.IN_USE)
    _check_scheme(tx, row, offering)
    return {
        "offering_id": offering.id,
        "egress_default_allow": bool(offering.egress_default_allow),
        "redundant": _stays_redundant(row, offering),
    }


def _stays_redundant(row: Row, offering: Row) -> bool:
    """One router of a pair is not made the only one again while it serves."""
    redundant = is_redundant(offering)
    if row.vpc_id is None and row.redundant and row.state in networks.LIVE and not redundant:
        raise Refused(f"Network {row.name} has redundant routers, which network offering {offering.name} does not support")
    if row.vpc_id is None and redundant:
        _check_addresses(row)
    return redundant


def _check_addresses(row: Row) -> None:
    if row.ip6_cidr:
        raise Refused(f"Network {row.name} has IPv6, which redundant routers do not serve")


def _check_scheme(tx: Tx, row: Row, offering: Row) -> None:
    """Internal load balancers are not served by routers, nor public ones inside."""
    internal = internal_lbs.is_provided(tx, row)
    rules = load_balancers.internal_of(tx, row.id) if internal else load_balancers.of_network(tx, row.id)
    if rules and internal_lbs.is_offered(offering) != internal:
        raise Refused(f"Network offering {offering.name} has another provider of Lb, but the network has such rules", Why.IN_USE)


@result("updateNetwork")
def _network_result(tx: Tx, job: Row) -> dict[str, Any]:
    return answer(tx, job.instance_id, admin=is_admins(tx, job))


# ---------------------------------------------------------------- what CloudStack has beside
@handler("migrateNetwork")
def migrate_network(call: Call) -> Reply:
    """Refused: there is only one kind of physical network provider to migrate between."""
    call.need(tables.network, "networkid")
    raise Refused("Network migration between providers is not supported; use updateNetwork with networkofferingid")


@handler("listNetworkPermissions")
def list_network_permissions(call: Call) -> Reply:
    """Accounts that an isolated network is opened to: none."""
    call.need(tables.network, "networkid")
    return Rows([], 0)


@handler("createNetworkPermissions")
def create_network_permissions(call: Call) -> Reply:
    """Refused: a network is its account's."""
    row = call.need(tables.network, "networkid")
    if row.guest_type == "Shared":
        raise Refused("Cannot set network permissions on a shared network; it is seen by its domain")
    raise Refused("Network permissions are not supported; put the guests of both accounts in a project", Why.UNAVAILABLE)
