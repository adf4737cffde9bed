"""Machines as the API lists them: one joined statement with the names of everything they refer to, and their state.

The state is compiled from the rules of systemvms/states, so that a filter by state is done by the database, before the
page is cut. `facts_of` gives the same rules the same facts in Python; a test compares the two.
"""

from functools import cache
from typing import Any

import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.prepared import Prepared, equals
from sysvm.store.queries import owned
from sysvm.store.store import Row, Tx
from sysvm.systemvms import states
from sysvm.systemvms.states import Facet, StateFacts

_m = tables.machine.c

_FACETS: dict[Facet, sa.ColumnElement[bool]] = {
    "removed": _m.removed.is_not(None),
    "gone": _m.wanted == "gone",
    "stopped": _m.wanted == "stopped",
    "off": _m.power.in_(("absent", "stopped")),
    "on": _m.power == "running",
    "unknown": _m.power == "unknown",
    "given_up": _m.error != "",
    "ever_ran": sa.or_(_m.host_id.is_not(None), _m.last_host_id.is_not(None)),
    "destroyed": _m.destroyed.is_not(None),
    "known": sa.or_(_m.kind == "guest", _m.agent_up.is_(True), _m.document_live != ""),
    "moving": sa.or_(
        _m.migrate_host_id.is_not(None),
        sa.and_(_m.wanted_host_id.is_not(None), _m.host_id.is_not(None), _m.wanted_host_id != _m.host_id),
    ),
}  # fmt: skip


def _holds(rule: states.StateRule) -> sa.ColumnElement[bool]:
    parts = [_FACETS[name] if value else sa.not_(_FACETS[name]) for name, value in rule.needs.items()]
    return sa.and_(sa.true(), *parts)


state_column: sa.ColumnElement[str] = sa.case(*((_holds(rule), rule.state) for rule in states.RULES), else_="Unknown")


def facts_of(machine: Row) -> StateFacts:
    """What the state of a row of `machine` depends on."""
    return StateFacts(
        wanted=machine.wanted,
        power=machine.power,
        is_guest=machine.kind == "guest",
        agent_known=bool(machine.agent_up) or bool(machine.document_live),
        error=machine.error,
        ever_ran=machine.host_id is not None or machine.last_host_id is not None,
        destroyed=machine.destroyed is not None,
        removed=machine.removed is not None,
        moving=machine.migrate_host_id is not None
        or (machine.wanted_host_id is not None and machine.host_id is not None and machine.wanted_host_id != machine.host_id),
    )


def state_of(machine: Row) -> str:
    """The API state of a row of `machine`."""
    return states.api_state(facts_of(machine))


# What no answer shows: reading and converting it would be a third of the price of a page.
UNSHOWN = frozenset({
    "wish", "incarnation", "fence", "forced", "reboots", "document_wanted", "document_live", "faults", "deadline", "vpc_id",
    "draining", "state_key", "password", "key_pairs", "console_proxy_id", "console_assigned", "last_host_id",
    "wanted_host_id", "wanted_cluster_id", "wanted_pod_id", "migrate_host_id", "migration", "updated", "drain_until",
    "idle_since",
})  # fmt: skip
# What only guests show, or have.
OF_GUESTS = frozenset({
    "hostname", "userdata", "user_data_id", "ha_enabled", "display_vm", "delete_protection", "iso_id", "group_name", "cpus",
    "cpu_mhz", "memory_mb", "destroyed", "details", "offering_cpus", "offering_cpu_mhz", "offering_memory_mb",
    "template_text", "template_password_enabled", "template_guest_os_id", "display_name", "wanted", "host_id", "template_id",
    "service_offering_id", "network_id", "network_uuid", "network_name", "account_id", "domain_id", "domain_path", "removed",
})  # fmt: skip
# What routers do not show, other system VMs do.
OF_SYSTEM_VMS = frozenset({
    "kind", "power", "agent_up", "sessions", "reported", "zone_domain", "offering_dynamic_scaling",
})  # fmt: skip
SHOWN = tuple(column for column in tables.machine.columns if column.name not in UNSHOWN)


def statement(*conditions: sa.ColumnElement[bool], without: frozenset[str] = frozenset()) -> sa.Select[Any]:
    """Machines, as far as answers show them, with the names around them; add filters, order and limit. `without`: what
    machines of the kinds that are asked for do not show."""
    machine, host = tables.machine, tables.host
    joined = (
        machine.join(tables.zone, tables.zone.c.id == machine.c.zone_id)
        .join(tables.service_offering, tables.service_offering.c.id == machine.c.service_offering_id)
        .outerjoin(host, host.c.id == machine.c.host_id)
        .outerjoin(tables.pod, tables.pod.c.id == host.c.pod_id)
        .outerjoin(tables.template, tables.template.c.id == machine.c.template_id)
        .outerjoin(tables.network, tables.network.c.id == machine.c.network_id)
        .outerjoin(tables.vpc, tables.vpc.c.id == sa.func.coalesce(machine.c.vpc_id, tables.network.c.vpc_id))
    )
    columns = [*SHOWN, *_places(), *owned.names(), *_makings(), *_network(), state_column.label("api_state")]
    shown = [column for column in columns if column.key not in without]
    return sa.select(*shown).select_from(owned.joined(joined, machine)).where(*conditions)


@cache
def _every() -> Prepared:
    return Prepared(statement())


def one(tx: Tx, machine_id: int) -> Row | None:
    """A machine of any kind, removed or not, with the names around it."""
    rows = _every().rows(tx, [equals("id", _m.id, machine_id)])
    return rows[0] if rows else None


def _places() -> list[sa.ColumnElement[Any]]:
    zone, host, pod = tables.zone.c, tables.host.c, tables.pod.c
    return [
        zone.uuid.label("zone_uuid"),
        zone.name.label("zone_name"),
        zone.dns1.label("zone_dns1"),
        zone.dns2.label("zone_dns2"),
        zone.ip6dns1.label("zone_ip6dns1"),
        zone.ip6dns2.label("zone_ip6dns2"),
        zone.network_domain.label("zone_domain"),
        host.uuid.label("host_uuid"),
        host.name.label("host_name"),
        host.state.label("host_state"),
        host.resource_state.label("host_resource_state"),
        pod.uuid.label("pod_uuid"),
        pod.name.label("pod_name"),
    ]


def _makings() -> list[sa.ColumnElement[Any]]:
    offering, template = tables.service_offering.c, tables.template.c
    return [
        offering.uuid.label("offering_uuid"),
        offering.name.label("offering_name"),
        offering.cpus.label("offering_cpus"),
        offering.cpu_mhz.label("offering_cpu_mhz"),
        offering.memory_mb.label("offering_memory_mb"),
        offering.dynamic_scaling.label("offering_dynamic_scaling"),
        template.uuid.label("template_uuid"),
        template.name.label("template_name"),
        template.display_text.label("template_text"),
        template.password_enabled.label("template_password_enabled"),
        template.guest_os_id.label("template_guest_os_id"),
    ]


def _network() -> list[sa.ColumnElement[Any]]:
    network = tables.network.c
    return [
        network.uuid.label("network_uuid"),
        network.name.label("network_name"),
        network.domain_name.label("network_domain"),
        network.dns1.label("network_dns1"),
        network.dns2.label("network_dns2"),
        tables.vpc.c.uuid.label("vpc_uuid"),
        tables.vpc.c.name.label("vpc_name"),
        tables.vpc.c.network_domain.label("vpc_domain"),
    ]


def host_control_state(row: Row) -> str | None:
    """Enabled, Disabled, Maintenance, Offline of the row's host; None when it has none."""
    if row.host_uuid is None:
        return None
    if row.host_state != "Up":
        return "Offline"
    if "Maintenance" in row.host_resource_state:
        return "Maintenance"
    return str(row.host_resource_state)
