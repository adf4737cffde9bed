"""Guests: list, start, stop, reboot, destroy, recover, expunge.

A destroyed guest keeps its addresses, rules and volumes until it is expunged; until then it can be recovered.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from sysvm.api.answers import guests as answers
from sysvm.api.call import Accepted, Call, One, Reply
from sysvm.api.commands.guests import guest_places
from sysvm.api.commands.guests.guest_keys import SEALED_PASSWORD
from sysvm.api.commands.networks.networks import usable_network
from sysvm.api.commands.owned import is_admin, is_admins
from sysvm.api.handlers import handler, result
from sysvm.api.listing import list_rows, tags_of
from sysvm.api.results import open_secret
from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.prepared import Condition, constant, equals, rare
from sysvm.store.queries import guests, machine_rows, machines, networks, nics, settings, volumes
from sysvm.store.queries.jobs import Part
from sysvm.store.queries.machines import ANYWHERE, Within
from sysvm.store.store import Row, Tx

ABOUT = "VirtualMachine"
TAGGED = "UserVm"


def the_guest(call: Call, name: str = "id", *, destroyed: bool = False) -> Row:
    """The guest that a parameter names; a destroyed one only when it may be."""
    row = call.need(tables.machine, name)
    if row.kind != "guest" or row.wanted == "gone" or (row.destroyed is not None and not destroyed):
        raise Refused(f"Unable to find a virtual machine with id {call[name]}")
    return row


def answer(tx: Tx, machine_id: int, *, admin: bool, password: str | None = None) -> dict[str, Any]:
    """One guest with its tags."""
    found = answers.guest(guests.one(tx, machine_id), admin=admin, password=password)
    return {**found, "tags": tags_of(tx, TAGGED, [machine_id]).get(machine_id, [])}


# ---------------------------------------------------------------- list
@handler("listVirtualMachines")
def list_virtual_machines(call: Call) -> Reply:
    """Guests that the caller may see; destroyed ones only for administrators, unless a setting says otherwise."""
    machine = tables.machine.c
    admin = is_admin(call.caller)
    details = {word.lower() for word in call.get("details", ())}

    def rows(tx: Tx, found: Sequence[Row]) -> list[dict[str, Any]]:
        userdata = bool(call.get("userdata"))
        shown = [answers.guest(view, admin=admin, userdata=userdata) for view in guests.views(tx, found)]
        return [answers.only(row, details) for row in shown]

    return list_rows(
        call,
        guests.living(),
        tables.machine,
        rows,
        where=[*_filters(call), *map(rare, _around(call))],
        equal={"hypervisor": machine.hypervisor, "displayvm": machine.display_vm, "haenable": machine.ha_enabled},
        refs={
            "zoneid": (tables.zone, machine.zone_id),
            "podid": (tables.pod, tables.host.c.pod_id),
            "clusterid": (tables.cluster, tables.host.c.cluster_id),
            "hostid": (tables.host, machine.host_id),
            "serviceofferingid": (tables.service_offering, machine.service_offering_id),
        },
        keyword=(machine.display_name, machine.hostname, machine.name),
        tagged=TAGGED,
    )


def _filters(call: Call) -> list[Condition]:
    machine = tables.machine.c
    found: list[Condition] = []
    if name := call.get("name"):
        found.append(rare(sa.or_(machine.hostname == name, machine.display_name == name, machine.name == name)))
    if state := call.get("state"):
        running_or_not = {"present": ("Destroyed", "Expunging")}
        word = state.lower()
        if word in running_or_not:
            found.append(rare(machine_rows.state_column.not_in(running_or_not[word])))
        else:
            found.append(equals("state", sa.func.lower(machine_rows.state_column), word))
    if not is_admin(call.caller) and not _may(call, "allow.user.view.destroyed.vm"):
        found.append(constant("living", lambda: machine.destroyed.is_(None)))
    if call.get("keypair"):
        found.append(rare(sa.cast(machine.details, sa.Text).contains(call["keypair"], autoescape=True)))
    if (group := call.row(tables.security_group, "securitygroupid")) is not None:
        member = tables.security_group_member.c
        found.append(rare(machine.id.in_(sa.select(member.machine_id).where(member.group_id == group.id))))
    if (vpc := call.row(tables.vpc, "vpcid")) is not None:
        inside = sa.select(tables.nic.c.machine_id).join(tables.network, tables.network.c.id == tables.nic.c.network_id)
        living = (tables.network.c.vpc_id == vpc.id, tables.nic.c.removed.is_(None))
        found.append(rare(machine.id.in_(inside.where(*living))))
    if (near := call.row(tables.affinity_group, "affinitygroupid")) is not None:
        fellow = tables.affinity_group_member.c
        found.append(rare(machine.id.in_(sa.select(fellow.machine_id).where(fellow.group_id == near.id))))
    if (named := call.row(tables.instance_group, "groupid")) is not None:
        found.append(rare(sa.and_(machine.account_id == named.account_id, machine.group_name == named.name)))
    for name in ("backupofferingid", "autoscalevmgroupid"):
        if call.get(name):
            found.append(rare(sa.false()))  # there are none of these, so no guest is in one
    if call.get("forvirtualnetwork") is False:
        found.append(rare(sa.false()))
    return found


def _around(call: Call) -> list[sa.ColumnElement[bool]]:
    """Filters by what a guest is made of and plugged into."""
    machine, nic, volume = tables.machine.c, tables.nic.c, tables.volume.c
    found: list[sa.ColumnElement[bool]] = []
    if call.get("networkid"):
        network = usable_network(call, call["networkid"], "networkid")
        on = sa.select(nic.machine_id).where(nic.network_id == network.id, nic.removed.is_(None))
        found.append(machine.id.in_(on))
    if (pool := call.row(tables.storage_pool, "storageid")) is not None:
        found.append(machine.id.in_(sa.select(volume.machine_id).where(volume.pool_id == pool.id, volume.removed.is_(None))))
    for name, column in (("templateid", machine.template_id), ("isoid", machine.iso_id)):
        if (image := call.row(tables.template, name, check=False)) is not None:
            found.append(column == image.id)
    if (user := call.row(tables.user, "userid")) is not None:
        found.append(machine.account_id == user.account_id)
    return found


def _may(call: Call, setting: str) -> bool:
    return bool(settings.value(call.tx, setting, account_id=call.caller.account_id))


# ---------------------------------------------------------------- start, stop, reboot
def _accepted(call: Call, row: Row, text: str, *parts: Part) -> Accepted:
    return Accepted(parts, call.about(ABOUT, row), f"{text} Vm Id: {row.uuid}")


def start(tx: Tx, row: Row, within: Within = ANYWHERE) -> tuple[Part, ...]:
    """The guest shall run, where it may be, and the networks that it is on shall be there."""
    ids = [nic.network_id for nic in nics.of_machine(tx, row.id) if nic.network_id is not None]
    machines.confine(tx, row.id, within)
    return (*(networks.implement(tx, id_) for id_ in ids), machines.want(tx, row, "running"))


@handler("startVirtualMachine")
def start_virtual_machine(call: Call) -> Reply:
    """Running afterwards; on a certain host, or in a cluster or pod, when an administrator says so."""
    row = the_guest(call)
    within = guest_places.of_start(call, row)
    _must_not_be_suspended(call, row)
    if machine_rows.state_of(row) == "Running":
        return _accepted(call, row, "starting")
    if any(volume.state == "Migrating" for volume in volumes.of_machine(call.tx, row.id)):
        raise Refused("A volume of the VM is being moved to another primary storage; wait for it", Why.IN_USE)
    return _accepted(call, row, "starting", *start(call.tx, row, within))


def _must_not_be_suspended(call: Call, row: Row) -> None:
    mine = "project_account_id = :account and removed is null and state <> 'Active'"
    if found := call.tx.rows(tables.project, mine, account=row.account_id):
        text = f"Unable to start the vm, its project {found[0].name} is {found[0].state}; use activateProject"
        raise Refused(text, Why.NOT_ALLOWED)


@handler("stopVirtualMachine")
def stop_virtual_machine(call: Call) -> Reply:
    """Stopped afterwards; with `forced` without asking it first."""
    row = the_guest(call)
    if machine_rows.state_of(row) == "Stopped":
        return _accepted(call, row, "stopping")
    return _accepted(call, row, "stopping", machines.want(call.tx, row, "stopped", forced=bool(call.get("forced"))))


@handler("rebootVirtualMachine")
def reboot_virtual_machine(call: Call) -> Reply:
    """A new incarnation with the same volumes and addresses."""
    row = the_guest(call)
    state = machine_rows.state_of(row)
    if state != "Running":
        raise Refused(f"Unable to reboot a vm in state {state}; it must be Running")
    return _accepted(call, row, "rebooting", machines.replace(call.tx, row, forced=bool(call.get("forced"))))


# ---------------------------------------------------------------- the end
def _may_expunge(call: Call) -> bool:
    return is_admin(call.caller) or call.caller.is_domain_admin or _may(call, "allow.user.expunge.recover.vm")


@handler("destroyVirtualMachine")
def destroy_virtual_machine(call: Call) -> Reply:
    """Stopped and marked, to be expunged later; with `expunge` gone at once."""
    row = the_guest(call, destroyed=True)
    if call.get("expunge") and not _may_expunge(call):
        raise Refused(
            "Parameter expunge can be passed by Admin only. Or when the allow.user.expunge.recover.vm key is set.",
            Why.NOT_ALLOWED,
        )
    if row.delete_protection:
        raise Refused(f"Instance {row.display_name} ({row.uuid}) has delete protection enabled. Cannot be deleted.")
    for volume in _doomed(call, row):
        volumes.remove(call.tx, volume)
    if call.get("expunge"):
        return _accepted(call, row, "destroying", guests.expunge(call.tx, row))
    if row.destroyed is not None:
        return _accepted(call, row, "destroying")
    call.tx.update(tables.machine, row.id, destroyed=call.now)
    return _accepted(call, row, "destroying", machines.want(call.tx, row, "stopped", forced=True))


def _doomed(call: Call, row: Row) -> list[Row]:
    """The data volumes that go with the guest."""
    found = [call.find(tables.volume, uuid, "volumeids") for uuid in call.get("volumeids", ())]
    for volume in found:
        if volume.machine_id != row.id or volume.type == "ROOT":
            raise Refused(f"Volume {volume.name} is no data volume of the vm: volumeids names only such")
    return found


@handler("expungeVirtualMachine")
def expunge_virtual_machine(call: Call) -> Reply:
    """A destroyed guest is gone for good."""
    row = the_guest(call, destroyed=True)
    if not _may_expunge(call):
        raise Refused("Expunging a vm is allowed to administrators only (allow.user.expunge.recover.vm)", Why.NOT_ALLOWED)
    if row.destroyed is None:
        raise Refused("Please destroy vm with specified vmId before expunge")
    return _accepted(call, row, "expunging", guests.expunge(call.tx, row))


@handler("recoverVirtualMachine")
def recover_virtual_machine(call: Call) -> Reply:
    """A destroyed guest is a stopped one again."""
    row = the_guest(call, destroyed=True)
    if not _may_expunge(call):
        raise Refused("Recovering a vm is allowed to administrators only (allow.user.expunge.recover.vm)", Why.NOT_ALLOWED)
    if row.destroyed is None:
        raise Refused(f"Vm {row.display_name} is not destroyed, so it can't be recovered")
    call.tx.update(tables.machine, row.id, destroyed=None)
    return One(answer(call.tx, row.id, admin=is_admin(call.caller)), call.about(ABOUT, row), "recovering vm")


@result(
    "deployVirtualMachine", "startVirtualMachine", "stopVirtualMachine", "rebootVirtualMachine", "destroyVirtualMachine",
    "restoreVirtualMachine", "scaleVirtualMachine", "migrateVirtualMachine",
    "migrateVirtualMachineWithVolume", "addNicToVirtualMachine",
    "removeNicFromVirtualMachine", "updateDefaultNicForVirtualMachine", "updateVmNicIp", "resetPasswordForVirtualMachine",
    "resetSSHKeyForVirtualMachine", "attachIso", "detachIso", "updateVMAffinityGroup",
)  # fmt: skip
def _guest_result(tx: Tx, job: Row) -> dict[str, Any]:
    """The guest; with its password when that was made by this job, whose result is then sealed."""
    machines.confine(tx, job.instance_id, ANYWHERE)  # where it may be is said for one start
    # Sealed in the job, for the guest may have fetched it by now.
    sealed = (job.params or {}).get(SEALED_PASSWORD) if job.secret else None
    return answer(tx, job.instance_id, admin=is_admins(tx, job), password=open_secret(sealed) if sealed else None)
