"""Machines as the API lists them: one joined statement with the names of everything they refer to, and their state.

The state is compiled from the rules of systemvms/states, so that a filter by state is done by the database, before the
page is cut. `facts_of` gives the same rules the same facts in Python; a test compares the two.
"""

from typing import Any

import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.store import Row
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
    "moving": sa.and_(
        _m.wanted_host_id.is_not(None), _m.host_id.is_not(None), _m.wanted_host_id != _m.host_id
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
        moving=machine.wanted_host_id is not None
        and machine.host_id is not None
        and machine.wanted_host_id != machine.host_id,
    )


def state_of(machine: Row) -> str:
    """The API state of a row of `machine`."""
    return states.api_state(facts_of(machine))


def statement(*conditions: sa.ColumnElement[bool]) -> sa.Select[Any]:
    """Machines with the names around them; add filters, order and limit."""
    machine, zone, host, pod = tables.machine, tables.zone, tables.host, tables.pod
    offering, template = tables.service_offering, tables.template
    account, domain, network = tables.account, tables.domain, tables.network
    project = tables.project
    joined = (
        machine.join(zone, zone.c.id == machine.c.zone_id)
        .join(account, account.c.id == machine.c.account_id)
        .join(domain, domain.c.id == machine.c.domain_id)
        .join(offering, offering.c.id == machine.c.service_offering_id)
        .outerjoin(project, sa.and_(project.c.project_account_id == account.c.id, project.c.removed.is_(None)))
        .outerjoin(host, host.c.id == machine.c.host_id)
        .outerjoin(pod, pod.c.id == host.c.pod_id)
        .outerjoin(template, template.c.id == machine.c.template_id)
        .outerjoin(network, network.c.id == machine.c.network_id)
    )
    return (
        sa.select(
            machine,
            zone.c.uuid.label("zone_uuid"),
            zone.c.name.label("zone_name"),
            zone.c.dns1.label("zone_dns1"),
            zone.c.dns2.label("zone_dns2"),
            zone.c.ip6dns1.label("zone_ip6dns1"),
            zone.c.ip6dns2.label("zone_ip6dns2"),
            zone.c.network_domain.label("zone_domain"),
            zone.c.network_type.label("zone_type"),
            host.c.uuid.label("host_uuid"),
            host.c.name.label("host_name"),
            host.c.state.label("host_state"),
            host.c.resource_state.label("host_resource_state"),
            host.c.disconnected.label("host_disconnected"),
            pod.c.uuid.label("pod_uuid"),
            pod.c.name.label("pod_name"),
            account.c.name.label("account_name"),
            domain.c.uuid.label("domain_uuid"),
            domain.c.name.label("domain_name"),
            domain.c.path.label("domain_text"),
            project.c.uuid.label("project_uuid"),
            project.c.name.label("project_name"),
            offering.c.uuid.label("offering_uuid"),
            offering.c.name.label("offering_name"),
            offering.c.cpus.label("offering_cpus"),
            offering.c.cpu_mhz.label("offering_cpu_mhz"),
            offering.c.memory_mb.label("offering_memory_mb"),
            offering.c.dynamic_scaling.label("offering_dynamic_scaling"),
            template.c.uuid.label("template_uuid"),
            template.c.name.label("template_name"),
            template.c.display_text.label("template_text"),
            template.c.is_iso.label("template_is_iso"),
            template.c.format.label("template_format"),
            template.c.password_enabled.label("template_password_enabled"),
            template.c.guest_os_id.label("template_guest_os_id"),
            network.c.uuid.label("network_uuid"),
            network.c.name.label("network_name"),
            network.c.domain_name.label("network_domain"),
            network.c.dns1.label("network_dns1"),
            network.c.dns2.label("network_dns2"),
            state_column.label("api_state"),
        )
        .select_from(joined)
        .where(*conditions)
    )


def host_control_state(row: Row) -> str | None:
    """Enabled, Disabled, Maintenance, Offline of the row's host; None when it has none."""
    if row.host_uuid is None:
        return None
    if row.host_state != "Up":
        return "Offline"
    if "Maintenance" in row.host_resource_state:
        return "Maintenance"
    return str(row.host_resource_state)
