"""Routers as answers show them. Who is no administrator sees neither hosts nor control addresses."""

from typing import Any

from sysvm.api.answers import nics
from sysvm.api.answers.nics import system_network_id
from sysvm.api.answers.owners import add_owner, without_empty
from sysvm.api.answers.times import stamp
from sysvm.store.queries import machine_rows
from sysvm.store.queries.nics import NicRow
from sysvm.store.queries.router_health import NOTHING, Found
from sysvm.store.queries.routers import MachineView
from sysvm.systemvms.versions import is_older


def router(view: MachineView, *, admin: bool, minimum_version: str, health: Found = NOTHING) -> dict[str, Any]:
    """One router. `minimum_version` is the oldest template that needs no upgrade; empty: any."""
    row = view.row
    answer = {
        "id": row.uuid,
        "name": row.name,
        "state": row.api_state,
        "role": row.role or "VIRTUAL_ROUTER",
        "zoneid": row.zone_uuid,
        "zonename": row.zone_name,
        "hypervisor": row.hypervisor or None,
        "templateid": row.template_uuid,
        "templatename": row.template_name,
        "serviceofferingid": row.offering_uuid,
        "serviceofferingname": row.offering_name,
        "created": stamp(row.created),
        "dns1": row.network_dns1 or row.zone_dns1 or None,
        "dns2": row.network_dns2 or row.zone_dns2 or None,
        "ip6dns1": row.zone_ip6dns1 or None,
        "ip6dns2": row.zone_ip6dns2 or None,
        "networkdomain": row.network_domain or row.vpc_domain or None,
        "vpcid": row.vpc_uuid,
        "vpcname": row.vpc_name,
        "isredundantrouter": bool(row.redundant),
        "redundantstate": row.redundant_state or "UNKNOWN",
        "healthchecksfailed": health.failed > 0,
        "version": row.template_version or "UNKNOWN",
        "scriptsversion": row.version or None,
        "softwareversion": row.version or None,
        "requiresupgrade": row.template_version in ("", "UNKNOWN") or is_older(row.template_version, minimum_version),
    }
    add_owner(answer, row)
    of = {nic.traffic: nic for nic in reversed(view.nics)}  # the first NIC of each traffic
    _add_addresses(answer, view, of.get("public"), of.get("guest"))
    if admin:
        _add_place(answer, view)
    answer = without_empty(answer)
    held = view.nics if admin else [nic for nic in view.nics if nic.traffic != "control"]
    answer["nic"] = [nics.nic(nic, view.networks, row.zone_uuid, row.uuid, admin=admin) for nic in held]
    return answer


def checks(found: Found) -> list[dict[str, Any]]:
    """The newest results; a check that could not be made has no verdict."""
    return [
        without_empty(
            {
                "checkname": each["name"],
                "checktype": each["kind"],
                "success": each["good"],
                "details": each["details"],
                "lastupdated": stamp(each["at"]),
            }
        )
        for each in found.checks
    ]


def _add_addresses(answer: dict[str, Any], view: MachineView, public: NicRow | None, guest: NicRow | None) -> None:
    if public is not None:
        primary = public.primary
        answer["publicip"] = primary.text if primary else None
        answer["publicmacaddress"] = public.mac
        answer["publicnetmask"] = public.netmask or None
        answer["publicnetworkid"] = system_network_id(view.row.zone_uuid, "public")
        answer["gateway"] = public.gateway or None
    if guest is not None:
        primary = guest.primary
        answer["guestipaddress"] = primary.text if primary else None
        answer["guestmacaddress"] = guest.mac
        answer["guestnetmask"] = guest.netmask or None
        if (network := view.networks.get(guest.network_id or 0)) is not None:
            answer["guestnetworkid"] = network.uuid
            answer["guestnetworkname"] = network.name


def _add_place(answer: dict[str, Any], view: MachineView) -> None:
    """What is for administrators."""
    row = view.row
    answer["podid"] = row.pod_uuid
    answer["podname"] = row.pod_name
    answer["hostid"] = row.host_uuid
    answer["hostname"] = row.host_name
    answer["hostcontrolstate"] = machine_rows.host_control_state(row)
    answer["note"] = row.error or row.note or None
    answer["servicenotes"] = ", ".join(row.service_notes or ()) or None
    add_runtime(answer, view)
    add_link_local(answer, view)


def add_runtime(answer: dict[str, Any], view: MachineView) -> None:
    """How the machine runs (container, vm, simulated), and why so. CloudStack has no such fields."""
    answer["runtime"] = view.row.runtime or None
    answer["runtimewhy"] = view.row.runtime_why or None


def add_link_local(answer: dict[str, Any], view: MachineView) -> None:
    """The address on its host's control network."""
    control = view.nic("control")
    if control is not None:
        primary = control.primary
        answer["linklocalip"] = primary.text if primary else None
        answer["linklocalmacaddress"] = control.mac
        answer["linklocalnetmask"] = control.netmask or nics.LINK_LOCAL_NETMASK
        answer["linklocalnetworkid"] = system_network_id(view.row.zone_uuid, "control")
