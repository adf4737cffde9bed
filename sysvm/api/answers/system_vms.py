"""Console proxies and secondary storage VMs as answers show them."""

from typing import Any

from sysvm.api.answers import routers
from sysvm.api.answers.owners import without_empty
from sysvm.api.answers.times import stamp
from sysvm.store.queries import machine_rows, system_vms
from sysvm.store.queries.routers import MachineView
from sysvm.systemvms import states


def system_vm(view: MachineView, round_trip_ms: float | None) -> dict[str, Any]:
    """One of them."""
    row = view.row
    answer = {
        "id": row.uuid,
        "systemvmtype": system_vms.api_type(row.kind),
        "name": row.name,
        "state": row.api_state,
        "agentstate": states.agent_state(row.power, bool(row.agent_up)),
        "zoneid": row.zone_uuid,
        "zonename": row.zone_name,
        "dns1": row.zone_dns1 or None,
        "dns2": row.zone_dns2 or None,
        "networkdomain": row.zone_domain or None,
        "podid": row.pod_uuid,
        "podname": row.pod_name,
        "hostid": row.host_uuid,
        "hostname": row.host_name,
        "hostcontrolstate": machine_rows.host_control_state(row),
        "hypervisor": row.hypervisor or None,
        "templateid": row.template_uuid,
        "templatename": row.template_name,
        "version": row.template_version or "UNKNOWN",
        "serviceofferingid": row.offering_uuid,
        "serviceofferingname": row.offering_name,
        "isdynamicallyscalable": bool(row.offering_dynamic_scaling),
        "created": stamp(row.created),
        "disconnected": None if row.agent_up else stamp(row.reported),
        "activeviewersessions": row.sessions if row.kind == "consoleproxy" else None,
        "consoleroundtripms": round_trip_ms,
        "note": row.error or row.note or None,
        **_addresses(view),
    }
    routers.add_runtime(answer, view)
    routers.add_link_local(answer, view)
    answer.pop("linklocalnetworkid", None)
    return without_empty(answer)


def _addresses(view: MachineView) -> dict[str, Any]:
    answer: dict[str, Any] = {}
    if (private := view.nic("management")) is not None:
        answer |= {
            "privateip": private.primary.text if private.primary else None,
            "privatemacaddress": private.mac,
            "privatenetmask": private.netmask or None,
        }
    if (public := view.nic("public") or view.nic("guest")) is not None:  # a basic zone has no public network
        answer |= {
            "publicip": public.primary.text if public.primary else None,
            "publicmacaddress": public.mac,
            "publicnetmask": public.netmask or None,
            "gateway": public.gateway or None,
        }
    return answer
