"""Changes of a guest: names and details, offering, root disk, password, keys, user data.

What a guest is handed (keys, password, user data) reaches it through its routers, so their documents change with it.
"""

from typing import Any

from sysvm.api.call import Accepted, Call, One, Owner, Reply
from sysvm.api.commands.guests import guest_deploy, guest_keys, guest_networks
from sysvm.api.commands.guests.guest_deploy import NewDisk
from sysvm.api.commands.guests.guests import ABOUT, answer, the_guest
from sysvm.api.commands.guests.vm_snapshots import need_none
from sysvm.api.commands.networks import security_groups
from sysvm.api.commands.offerings.offering_use import owner_of
from sysvm.api.commands.owned import is_admin
from sysvm.api.handlers import handler
from sysvm.api.params import pairs
from sysvm.api.rules import guests as rules
from sysvm.api.rules import subnets
from sysvm.basics.errors import Refused
from sysvm.store import tables
from sysvm.store.queries import guests, instance_groups, limits, machine_rows, machines, volumes
from sysvm.store.queries import security_groups as queries
from sysvm.store.queries.guests import ENCRYPTED_PASSWORD, INTERNAL_DETAILS
from sysvm.store.queries.jobs import Part
from sysvm.store.queries.limits import Kind as Limit
from sysvm.store.store import Row, Tx

COPIED = {
    "displayname": "display_name",
    "group": "group_name",
    "haenable": "ha_enabled",
    "displayvm": "display_vm",
    "deleteprotection": "delete_protection",
}


def _need_stopped(row: Row, what: str) -> None:
    state = machine_rows.state_of(row)
    if state not in ("Stopped", "Error"):
        raise Refused(f"Vm should be stopped to do {what}; it is {state}")


def _owner(row: Row) -> Owner:
    return Owner(row.account_id, row.domain_id, row.domain_path)


def _tell_routers(tx: Tx, machine_id: int) -> tuple[Part, ...]:
    """The routers of the guest's networks take what it is handed now."""
    found = guest_networks.of_guest(tx, machine_id)
    return tuple(part for network in found for part in machines.wish_documents(tx, network.id))


def _one(call: Call, row: Row, text: str) -> One:
    return One(answer(call.tx, row.id, admin=is_admin(call.caller)), call.about(ABOUT, row), f"{text} Vm Id: {row.uuid}")


# ---------------------------------------------------------------- update
@handler("updateVirtualMachine")
def update_virtual_machine(call: Call) -> Reply:
    """Names, group, flags, user data and details; a new host name is known to the network at once, to the guest later."""
    row = the_guest(call)
    changes: dict[str, Any] = {column: call[name] for name, column in COPIED.items() if name in call}
    if call.get("name"):
        hostname = subnets.check_hostname(call["name"])
        guest_networks.check_hostname(call.tx, hostname, guest_networks.of_guest(call.tx, row.id), row.id)
        changes["hostname"] = hostname
    if call.get("instancename"):
        raise Refused("The instance name is made of the vm's id and can't be changed")
    changes |= guest_keys.user_data(call)
    changes |= _details(call, row)
    instance_groups.ensure(call.tx, _owner(row).columns, changes.get("group_name", ""))
    if security_groups.is_given(call):
        _change_groups(call, row)
    if changes:
        call.tx.update(tables.machine, row.id, **changes)
    if {"hostname", "userdata"} & set(changes):
        _tell_routers(call.tx, row.id)
    return _one(call, row, "updating")


def _change_groups(call: Call, row: Row) -> None:
    """Hosts take it while the guest runs."""
    if not any(queries.is_filtered(call.tx, network.id) for network in guest_networks.of_guest(call.tx, row.id)):
        raise Refused("Virtual machine can't have security groups: none of its networks has the service SecurityGroup")
    found = security_groups.chosen(call, _owner(row))
    queries.join(call.tx, row.id, [group.id for group in found])


def _details(call: Call, row: Row) -> dict[str, Any]:
    kept = {name: value for name, value in (row.details or {}).items() if name in INTERNAL_DETAILS}
    if call.get("cleanupdetails"):
        return {"details": kept}
    if "details" not in call:
        return {}
    given = pairs(call["details"])
    hidden = set(given) & INTERNAL_DETAILS
    if hidden:
        raise Refused(f"You're not allowed to add or edit the details {', '.join(sorted(hidden))}")
    return {"details": {**kept, **given}}


# ---------------------------------------------------------------- offering
@handler("changeServiceForVirtualMachine")
def change_service_for_virtual_machine(call: Call) -> Reply:
    """Another compute offering for a stopped guest."""
    row = the_guest(call)
    _change_offering(call, row)
    return _one(call, row, "changing offering of")


@handler("scaleVirtualMachine")
def scale_virtual_machine(call: Call) -> Reply:
    """The same as a job. A running guest is refused: no host driver changes one while it runs."""
    row = the_guest(call)
    if machine_rows.state_of(row) == "Running":
        raise Refused("Dynamically scaling virtual machines is disabled for this zone, please stop the vm and scale it then")
    _change_offering(call, row)
    return Accepted((), call.about(ABOUT, row), f"upgrading Vm Id: {row.uuid}")


def _change_offering(call: Call, row: Row) -> None:
    state = machine_rows.state_of(row)
    if state not in ("Stopped", "Error"):
        raise Refused(
            f"Unable to upgrade virtual machine {row.display_name} in state {state}; make sure the virtual machine is stopped"
        )
    need_none(call.tx, row.id, "scale the VM", memory=True)
    zone = call.tx.get(tables.zone, row.zone_id)
    assert zone is not None
    offering = guest_deploy.service_offering(call, zone, owner_of(row))
    size = rules.size(offering, pairs(call.get("details")))
    current = call.tx.get(tables.service_offering, row.service_offering_id)
    assert current is not None
    more_cpus = (size.cpus or offering.cpus or 0) - (row.cpus or current.cpus or 0)
    more_memory = (size.memory_mb or offering.memory_mb or 0) - (row.memory_mb or current.memory_mb or 0)
    if more_cpus > 0:
        limits.check_limit(call.tx, row.account_id, Limit.CPUS, more_cpus)
    if more_memory > 0:
        limits.check_limit(call.tx, row.account_id, Limit.MEMORY, more_memory)
    call.tx.update(
        tables.machine,
        row.id,
        service_offering_id=offering.id,
        cpus=size.cpus,
        cpu_mhz=size.cpu_mhz,
        memory_mb=size.memory_mb,
    )


# ---------------------------------------------------------------- root disk
@handler("restoreVirtualMachine")
def restore_virtual_machine(call: Call) -> Reply:
    """A fresh root disk from its template, or from another one; a running guest starts anew with it."""
    row = the_guest(call, "virtualmachineid")
    owner = _owner(row)
    image = _image_of(call, row, owner)
    zone = call.tx.get(tables.zone, row.zone_id)
    assert zone is not None
    if image.is_iso:
        raise Refused("A vm that was installed from an ISO can't be restored from it; give a template with templateid")
    if image.hypervisor.lower() != row.hypervisor.lower():
        raise Refused(f"Template {image.name} is for {image.hypervisor}, the vm runs on {row.hypervisor}")
    guest_deploy.check_ready(call, image, zone)
    need_none(call.tx, row.id, "restore the VM")
    _new_root(call, row, owner, image)
    parts = (machines.replace(call.tx, row, forced=True),) if row.wanted == "running" else ()
    return Accepted(parts, call.about(ABOUT, row), f"restoring Vm Id: {row.uuid}")


def _image_of(call: Call, row: Row, owner: Owner) -> Row:
    if call.get("templateid"):
        return guest_deploy.usable_image(call, owner)
    image = call.tx.get(tables.template, row.template_id)
    if image is None or image.removed is not None:
        raise Refused("The template that the vm was made from is gone; give another one with templateid")
    return image


def _new_root(call: Call, row: Row, owner: Owner, image: Row) -> None:
    old = [volume for volume in guests.volumes_of(call.tx, row.id) if volume.type == "ROOT"]
    for volume in old:
        volumes.remove(call.tx, volume)
    size = max([image.virtual_bytes or 0, *(volume.size_bytes for volume in old)])
    name = f"ROOT-{row.id}"
    guest_deploy.add_volume(call, row, owner, name, 0, NewDisk("ROOT", size, image.id))
    if row.wanted != "running":  # a running one is placed anew, with its volumes
        volumes.follow(call.tx, row)
    call.tx.update(tables.machine, row.id, template_id=image.id)


# ---------------------------------------------------------------- password, keys, user data
@handler("resetPasswordForVirtualMachine")
def reset_password_for_virtual_machine(call: Call) -> Reply:
    """A new password, which the guest fetches when it starts; the job's result shows it once."""
    row = the_guest(call)
    template = call.tx.get(tables.template, row.template_id)
    if template is None or not template.password_enabled:
        raise Refused("Fail to reset password for the virtual machine, the template is not password enabled")
    _need_stopped(row, "password reset")
    made = guest_keys.password_columns(call, template, call.get("password"))
    held = {"key_pairs": row.key_pairs, "details": row.details}
    call.tx.update(tables.machine, row.id, **made, **guest_keys.with_password(call, held, made["password"]))
    parts = _tell_routers(call.tx, row.id)
    secret = guest_keys.secret_params(made["password"])
    return Accepted(parts, call.about(ABOUT, row), f"resetting password for Vm Id: {row.uuid}", secret, secret=True)


@handler("resetSSHKeyForVirtualMachine")
def reset_ssh_key_for_virtual_machine(call: Call) -> Reply:
    """Other SSH keys; and a new password where the template has one."""
    row = the_guest(call)
    _need_stopped(row, "SSH key reset")
    keys = guest_keys.keys(call, _owner(row))
    if not keys.names:
        raise Refused("Either keypair or keypairs must be passed")
    template = call.tx.get(tables.template, row.template_id)
    password = guest_keys.password_columns(call, template)
    held = guest_keys.with_password(call, keys.columns(row.details), password.get("password"))
    call.tx.update(tables.machine, row.id, **held, **password)
    parts = _tell_routers(call.tx, row.id)
    secret = guest_keys.secret_params(password.get("password"))
    return Accepted(parts, call.about(ABOUT, row), f"resetting SSH keys of Vm Id: {row.uuid}", secret, secret=bool(secret))


@handler("getVMPassword")
def get_vm_password(call: Call) -> Reply:
    """The last password that was made for the guest, for whoever has the private half of its SSH key."""
    row = the_guest(call)
    locked = (row.details or {}).get(ENCRYPTED_PASSWORD)
    if not locked:
        raise Refused(
            f"No password for VM with id '{row.uuid}' found. It is kept when one is made for a vm that has an RSA SSH key"
            " and a template with passwordenabled=true"
        )
    return One({"encryptedpassword": locked})


@handler("resetUserDataForVirtualMachine")
def reset_user_data_for_virtual_machine(call: Call) -> Reply:
    """Other user data for a stopped guest, or none."""
    row = the_guest(call)
    _need_stopped(row, "UserData reset")
    changes = guest_keys.user_data(call) or {"userdata": "", "user_data_id": None}
    call.tx.update(tables.machine, row.id, **changes)
    _tell_routers(call.tx, row.id)
    return _one(call, row, "resetting user data of")


@handler("getVirtualMachineUserData")
def get_virtual_machine_user_data(call: Call) -> Reply:
    """As it was given: base64."""
    row = the_guest(call, "virtualmachineid")
    return One({"virtualmachineid": row.uuid, "userdata": row.userdata or ""})
