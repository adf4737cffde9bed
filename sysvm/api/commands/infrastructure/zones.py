"""Zones: making, listing, changing and removing them.

What a zone's system VMs should be is the orchestrator's: each change here wishes the zone's turn. A zone is removed only
when nothing is left in it, so that nothing of it can stay on a host.
"""

from typing import Any

import sqlalchemy as sa

from sysvm.api import errors
from sysvm.api.answers import zones as answers
from sysvm.api.call import Call, One, Reply, Success
from sysvm.api.handlers import handler
from sysvm.api.listing import list_rows, slice_rows
from sysvm.api.params import pairs
from sysvm.api.rules import places, ranges
from sysvm.basics.errors import Refused
from sysvm.store import tables
from sysvm.store.queries import templates, zones
from sysvm.store.store import Row, Tx

SWITCHES = ("enable.consoleproxy.vm", "enable.secstorage.vm")
RESOLVERS = {
    "dns1": "dns1", "dns2": "dns2", "ip6dns1": "ip6dns1", "ip6dns2": "ip6dns2", "internaldns1": "internal_dns1",
    "internaldns2": "internal_dns2",
}  # fmt: skip
STILL_THERE = (
    (tables.guest_prefix6, "IPv6 prefixes"),
    (tables.pod, "pods"),
    (tables.cluster, "clusters"),
    (tables.host, "hosts"),
    (tables.storage_pool, "primary storage pools"),
    (tables.image_store, "image stores"),
    (tables.physical_network, "physical networks"),
    (tables.network, "networks"),
    (tables.machine, "machines (disable the zone and its system VMs go by themselves)"),
    (tables.volume, "volumes"),
)


def _answer(call: Call, zone_id: int, what: str) -> One:
    row = call.tx.one(zones.listing().where(tables.zone.c.id == zone_id))
    assert row is not None
    return One(answers.zone(row, admin=True), call.about("Zone", row), f"{what} zone {row.name}")


@handler("createZone")
def create_zone(call: Call) -> Reply:
    """A new zone, disabled until it is said to be enabled."""
    type_ = _network_type(call)
    if call.get("isedge"):
        raise Refused("Edge zones are not supported")
    name = _free_name(call.tx, call["name"])
    for required in ("dns1", "internaldns1"):
        if not str(call[required]).strip():
            raise errors.empty(required)
    domain = call.row(tables.domain, "domainid")
    zone_id = call.tx.insert(
        tables.zone,
        uuid=call.ids.uuid(),
        name=name,
        network_type=type_,
        security_groups=type_ == zones.BASIC or bool(call.get("securitygroupenabled")),
        local_storage=bool(call.get("localstorageenabled")),
        guest_cidr=ranges.guest_cidr(call.get("guestcidraddress") or "10.1.1.0/24"),
        network_domain=places.network_domain(call.get("domain")),
        allocation_state=places.allocation_state(call.get("allocationstate"), "Disabled"),
        domain_id=domain.id if domain is not None else None,
        zone_token=call.ids.uuid(),
        details={},
        created=call.now,
        **{column: ranges.resolver(call.get(name_), name_) for name_, column in RESOLVERS.items()},
    )
    for template in templates.cross_zone(call.tx):
        templates.want_copy(call.tx, template.id, zone_id)
    zones.changed(call.tx, zone_id)
    return _answer(call, zone_id, "Created")


def _network_type(call: Call) -> str:
    """Basic zones have one network, for all guests: what keeps these apart is security groups."""
    given = str(call["networktype"]).strip().capitalize()
    if given not in (zones.ADVANCED, zones.BASIC):
        raise Refused(f"Invalid networktype {call['networktype']}; it is Basic or Advanced")
    if given == zones.BASIC and call.get("guestcidraddress"):
        raise Refused("guestCidrAddress parameter is not supported for Basic zone")
    return given


def _free_name(tx: Tx, name: str, but: int | None = None) -> str:
    wanted = places.name(name, "zone")
    same = zones.named(tx, tables.zone, wanted)
    if same is not None and same.id != but:
        raise Refused(f"A zone with that name already exists. Please specify a unique zone name. ({wanted})")
    return wanted


@handler("listZones")
def list_zones(call: Call) -> Reply:
    """Zones; who is no root admin sees those that are enabled and for everybody, or for a domain of his."""
    zone = tables.zone
    admin = call.caller.role_type in ("Admin", "ResourceAdmin")
    statement = zones.listing()
    if not admin:
        statement = statement.where(zone.c.allocation_state == "Enabled", _dedicated_to_caller(call))
    if (domain := call.row(tables.domain, "domainid")) is not None:
        statement = statement.where(sa.or_(zone.c.domain_id.is_(None), zone.c.domain_id == domain.id))
    if (kind := call.get("zonetype")) and kind.lower() != "core":
        statement = statement.where(sa.false())
    if kind := call.get("networktype"):
        statement = statement.where(sa.func.lower(zone.c.network_type) == kind.lower())

    def answer(_tx: Tx, rows: Any) -> list[dict[str, Any]]:
        return [answers.zone(row, admin=admin) for row in rows]

    equal: dict[str, sa.ColumnElement[Any]] = {"name": zone.c.name}
    return list_rows(call, statement, zone, answer, equal=equal, keyword=(zone.c.name, zone.c.description), tagged="Zone")


def _dedicated_to_caller(call: Call) -> sa.ColumnElement[bool]:
    above = [int(part) for part in call.caller.domain_path.split("/") if part]
    return sa.or_(tables.zone.c.domain_id.is_(None), tables.zone.c.domain_id.in_(above))


@handler("updateZone")
def update_zone(call: Call) -> Reply:
    """Changes a zone; disabling it, or switching a kind of system VM off, makes them go."""
    zone = call.need(tables.zone, "id")
    changes: dict[str, Any] = {}
    if "name" in call:
        changes["name"] = _free_name(call.tx, call["name"], zone.id)
    for name, column in RESOLVERS.items():
        if name in call:
            changes[column] = ranges.resolver(call[name], name)
    if "" in (changes.get("dns1"), changes.get("internal_dns1")):
        raise Refused("dns1 and internaldns1 can't be empty: guests and system VMs need a resolver")
    if "guestcidraddress" in call:
        changes["guest_cidr"] = ranges.guest_cidr(call["guestcidraddress"])
    if "domain" in call:
        changes["network_domain"] = places.network_domain(call["domain"])
    if "localstorageenabled" in call:
        changes["local_storage"] = call["localstorageenabled"]
    if "sortkey" in call:
        changes["sort_key"] = call["sortkey"]
    if (provider := call.get("dhcpprovider")) and provider != zone.dhcp_provider:
        raise Refused(f"The DHCP provider {provider!r} is not supported; it is VirtualRouter")
    if call.get("ispublic"):
        changes["domain_id"] = None
    if "details" in call:
        changes["details"] = {**(zone.details or {}), **_details(pairs(call["details"]))}
    state = places.allocation_state(call.get("allocationstate"), zone.allocation_state)
    if state == "Enabled" and zone.allocation_state != "Enabled":
        _check_enabling(call.tx, zone)
    call.tx.update(tables.zone, zone.id, allocation_state=state, **changes)
    zones.changed(call.tx, zone.id)
    return _answer(call, zone.id, "Changed")


def _details(given: dict[str, str]) -> dict[str, str]:
    for switch in SWITCHES:
        if switch in given and given[switch].lower() not in ("true", "false"):
            raise Refused(f"The zone detail {switch} is true or false, not {given[switch]!r}")
    return {name: value.lower() if name in SWITCHES else value for name, value in given.items()}


def _check_enabling(tx: Tx, zone: Row) -> None:
    for traffic in ("Management", "Guest") if zone.network_type == zones.BASIC else ("Management", "Public", "Guest"):
        if not zones.has_traffic(tx, zone.id, traffic):
            raise Refused(
                f"Cannot enable this Zone since: Unable to find a physical network with traffic={traffic} in the zone; "
                "use createPhysicalNetwork and addTrafficType"
            )


@handler("deleteZone")
def delete_zone(call: Call) -> Reply:
    """Removes a zone in which nothing is left."""
    zone = call.need(tables.zone, "id")
    for table, what in STILL_THERE:
        if count := zones.living(call.tx, table, table.c.zone_id == zone.id):
            raise Refused(f"The zone {zone.name} is not deletable because there are {count} {what} in it")
    call.tx.update(tables.zone, zone.id, removed=call.now, allocation_state="Disabled")
    copy = tables.template_copy
    gone = sa.and_(copy.c.zone_id == zone.id, copy.c.removed.is_(None))
    call.tx.change(sa.update(copy).where(gone).values(removed=call.now, wanted=False))
    zones.changed(call.tx, zone.id)
    return Success(about=call.about("Zone", zone), description=f"Deleted zone {zone.name}")


@handler("listHypervisors")
def list_hypervisors(call: Call) -> Reply:
    """What clusters run, or may run where there is none yet."""
    zone = call.row(tables.zone, "zoneid")
    found = zones.hypervisors(call.tx, zone.id if zone is not None else None)
    names = sorted({*found, *(() if zone is not None else places.HYPERVISORS)})
    return slice_rows(call, [{"name": name} for name in names])
