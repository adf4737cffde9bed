"""Guests as answers show them."""

from collections.abc import Collection
from typing import Any

from sysvm.api.answers import nics
from sysvm.api.answers.guest_groups import affinity_group
from sysvm.api.answers.owners import owner, without_empty
from sysvm.api.answers.security_groups import of_guest
from sysvm.api.answers.times import stamp
from sysvm.store.queries import machine_rows
from sysvm.store.queries.guests import INTERNAL_DETAILS, KEY_NAMES, GuestView
from sysvm.store.store import Row
from sysvm.store.tables import unpack_address


def guest(view: GuestView, *, admin: bool, password: str | None = None, userdata: bool = False) -> dict[str, Any]:
    """One guest. Hosts are for administrators; the password only for whom it was just made."""
    row = view.machine.row
    answer = {
        "id": row.uuid,
        "name": row.hostname or row.name,
        "displayname": row.display_name or row.hostname or row.name,
        "state": row.api_state,
        "created": stamp(row.created),
        "zoneid": row.zone_uuid,
        "zonename": row.zone_name,
        "hypervisor": row.hypervisor or None,
        "haenable": bool(row.ha_enabled),
        "displayvm": bool(row.display_vm),
        "group": row.group_name or None,
        "groupid": view.group,
        "forvirtualnetwork": True,
        "passwordenabled": bool(row.template_password_enabled),
        "password": password,
        "isdynamicallyscalable": bool(row.offering_dynamic_scaling),
        "details": {name: str(value) for name, value in (row.details or {}).items() if name not in INTERNAL_DETAILS},
        "keypairs": (row.details or {}).get(KEY_NAMES),
        "userdata": (row.userdata or None) if userdata else None,
        "note": row.error or row.note or None,
        **_size(row),
        **_image(view),
        **_root(view.root),
        **_public(view.public),
        **owner(row),
    }
    if view.user_data is not None:
        answer |= {"userdataid": view.user_data.uuid, "userdataname": view.user_data.name}
    if admin:
        answer |= _place(row)
    machine = view.machine
    held = [nics.nic(nic, machine.networks, row.zone_uuid, row.uuid, admin=admin) for nic in machine.nics]
    first = next((nic["ipaddress"] for nic in held if nic.get("isdefault") and "ipaddress" in nic), None)
    groups = {
        "securitygroup": [of_guest(row) for row in view.groups],
        "affinitygroup": [affinity_group(row) for row in view.near],
    }
    return without_empty({**answer, "ipaddress": first, "nic": held, **groups})


def _place(row: Row) -> dict[str, Any]:
    return {
        "instancename": row.name,
        "hostid": row.host_uuid,
        "hostname": row.host_name,
        "hostcontrolstate": machine_rows.host_control_state(row),
        "runtime": row.runtime or None,
        "runtimewhy": row.runtime_why or None,
    }


def _size(row: Row) -> dict[str, Any]:
    return {
        "serviceofferingid": row.offering_uuid,
        "serviceofferingname": row.offering_name,
        "cpunumber": row.cpus or row.offering_cpus,
        "cpuspeed": row.cpu_mhz or row.offering_cpu_mhz,
        "memory": row.memory_mb or row.offering_memory_mb,
    }


def _image(view: GuestView) -> dict[str, Any]:
    row = view.machine.row
    answer = {
        "templateid": row.template_uuid,
        "templatename": row.template_name,
        "templatedisplaytext": row.template_text or row.template_name,
    }
    if view.iso is not None:
        answer |= {
            "isoid": view.iso.uuid,
            "isoname": view.iso.name,
            "isodisplaytext": view.iso.display_text or view.iso.name,
        }
    if view.guest_os is not None:
        answer |= {
            "guestosid": view.guest_os.uuid,
            "ostypeid": view.guest_os.uuid,
            "osdisplayname": view.guest_os.name,
        }
    return answer


def _root(volume: Row | None) -> dict[str, Any]:
    if volume is None:
        return {}
    return {"rootdeviceid": volume.device or 0, "rootdevicetype": "ROOT"}


def _public(public: Row | None) -> dict[str, Any]:
    if public is None:
        return {}
    return {"publicip": unpack_address(public.address), "publicipid": public.uuid}


GROUPS: dict[str, frozenset[str]] = {
    "nics": frozenset({"nic", "ipaddress"}),
    "tmpl": frozenset({"templateid", "templatename", "templatedisplaytext"}),
    "servoff": frozenset({"serviceofferingid", "serviceofferingname", "cpunumber", "cpuspeed", "memory"}),
    "iso": frozenset({"isoid", "isoname", "isodisplaytext"}),
    "volume": frozenset({"rootdeviceid", "rootdevicetype"}),
    "secgrp": frozenset({"securitygroup"}),
    "affgrp": frozenset({"affinitygroup"}),
    "group": frozenset({"group", "groupid"}),
}


def only(answer: dict[str, Any], details: Collection[str]) -> dict[str, Any]:
    """The answer without the groups of fields that `details` of listVirtualMachines leaves out."""
    if not details or "all" in details:
        return answer
    dropped = {name for group, names in GROUPS.items() if group not in details for name in names}
    return {name: value for name, value in answer.items() if name not in dropped}
