"""Routers as answers show them. Who is no administrator sees neither hosts nor control addresses."""

from functools import lru_cache
from typing import Any

from sysvm.api.answers import nics
from sysvm.api.answers.nics import system_network_id
from sysvm.api.answers.owners import owner, without_empty
from sysvm.api.answers.times import stamp
from sysvm.store.queries import machine_rows
from sysvm.store.queries.routers import MachineView


def router(view: MachineView, *, admin: bool, minimum_version: str) -> dict[str, Any]:
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
        "networkdomain": row.network_domain or None,
        "isredundantrouter": bool(row.redundant),
        "redundantstate": row.redundant_state or "UNKNOWN",
        "healthchecksfailed": False,
        **versions(row.template_version, row.version, minimum_version),
        **_addresses(view),
        **owner(row),
    }
    if admin:
        answer |= _for_admins(view)
    shown = [nics.nic(nic, view.networks, row.zone_uuid, row.uuid, admin=admin) for nic in view.nics]
    return {
        **without_empty(answer),
        "nic": shown if admin else [nic for nic in shown if nic["traffictype"] != "Control"],
    }


def versions(template_version: str, agent_version: str, minimum: str) -> dict[str, Any]:
    """Template, scripts and software version; whether they are too old."""
    known = template_version or "UNKNOWN"
    return {
        "version": known,
        "scriptsversion": agent_version or None,
        "softwareversion": agent_version or None,
        "requiresupgrade": known == "UNKNOWN" or is_older(known, minimum),
    }


@lru_cache(maxsize=1024)
def is_older(version: str, minimum: str) -> bool:
    """Whether 4.9.1 comes before 4.10.0. Words in a version count as 0."""
    if not minimum:
        return False
    one, other = _numbers(version), _numbers(minimum)
    width = max(len(one), len(other))
    return one + (0,) * (width - len(one)) < other + (0,) * (width - len(other))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdigit() else 0 for part in version.replace("-", ".").split("."))


def _addresses(view: MachineView) -> dict[str, Any]:
    zone = view.row.zone_uuid
    answer: dict[str, Any] = {}
    if (public := view.nic("public")) is not None:
        answer |= {
            "publicip": public.primary.text if public.primary else None,
            "publicmacaddress": public.mac,
            "publicnetmask": public.netmask or None,
            "publicnetworkid": system_network_id(zone, "public"),
            "gateway": public.gateway or None,
        }
    if (guest := view.nic("guest")) is not None:
        network = view.networks.get(guest.network_id or 0)
        answer |= {
            "guestipaddress": guest.primary.text if guest.primary else None,
            "guestmacaddress": guest.mac,
            "guestnetmask": guest.netmask or None,
            "guestnetworkid": network.uuid if network else None,
            "guestnetworkname": network.name if network else None,
        }
    return answer


def _for_admins(view: MachineView) -> dict[str, Any]:
    row = view.row
    answer = {
        "podid": row.pod_uuid,
        "podname": row.pod_name,
        "hostid": row.host_uuid,
        "hostname": row.host_name,
        "hostcontrolstate": machine_rows.host_control_state(row),
        **link_local(view),
    }
    if row.note or row.error:
        answer["note"] = row.error or row.note
    return {**answer, **runtime(view)}


def runtime(view: MachineView) -> dict[str, Any]:
    """How the machine runs (container, vm, simulated), and why so. CloudStack has no such fields."""
    return {"runtime": view.row.runtime or None, "runtimewhy": view.row.runtime_why or None}


def link_local(view: MachineView) -> dict[str, Any]:
    """The address on its host's control network."""
    control = view.nic("control")
    if control is None:
        return {}
    return {
        "linklocalip": control.primary.text if control.primary else None,
        "linklocalmacaddress": control.mac,
        "linklocalnetmask": control.netmask or nics.LINK_LOCAL_NETMASK,
        "linklocalnetworkid": system_network_id(view.row.zone_uuid, "control"),
    }
