"""deployVirtualMachine: the rows of a guest. What makes it run is its turn, after those of its networks.

Everything is checked before anything is written, and written in one transaction: a refused guest leaves nothing.
"""

from dataclasses import dataclass
from typing import Any

from sysvm.api.call import Accepted, Call, Owner, Reply
from sysvm.api.commands.guests import guest_groups, guest_keys, guest_networks, guest_places
from sysvm.api.commands.guests.guest_networks import Plug
from sysvm.api.commands.offerings import offering_use
from sysvm.api.handlers import handler
from sysvm.api.params import pairs
from sysvm.api.rules import guests as rules
from sysvm.api.rules import images, subnets
from sysvm.api.rules.guests import Size
from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.queries import (
    affinity_groups,
    instance_groups,
    limits,
    machines,
    networks,
    security_groups,
    templates,
)
from sysvm.store.queries.jobs import Part
from sysvm.store.queries.limits import Kind as Limit
from sysvm.store.queries.machines import Within
from sysvm.store.store import Row

ABOUT = "VirtualMachine"
GUEST_HYPERVISORS = {"kvm": "KVM", "lxc": "LXC", "simulator": "Simulator"}


@dataclass(frozen=True, slots=True)
class NewDisk:
    """A volume that a guest starts with."""

    type: str
    size_bytes: int
    template_id: int | None = None
    disk_offering_id: int | None = None


@dataclass(frozen=True, slots=True)
class New:
    """A guest to be."""

    zone: Row
    owner: Owner
    offering: Row
    image: Row
    size: Size
    hypervisor: str
    disks: tuple[NewDisk, ...]
    hostname: str
    details: dict[str, str]


@handler("deployVirtualMachine")
def deploy_virtual_machine(call: Call) -> Reply:
    """A guest, running unless startvm=false."""
    new = _checked(call)
    within = guest_places.chosen(call, new.zone, new.hypervisor)
    plugs = guest_networks.chosen(call, new.zone, new.owner)
    groups = guest_networks.groups(call, new.owner, plugs)
    near = guest_groups.chosen(call, new.owner)
    if new.hostname:
        guest_networks.check_hostname(call.tx, new.hostname, [plug.network for plug in plugs])
    _check_limits(call, new)
    machine = _insert(call, new)
    _add_disks(call, machine, new)
    for device, plug in enumerate(plugs):
        guest_networks.plug_in(call.tx, machine.id, device, plug, default=device == 0)
    security_groups.join(call.tx, machine.id, [group.id for group in groups])
    if near:
        affinity_groups.join(call.tx, machine.id, [group.id for group in near])
    instance_groups.ensure(call.tx, new.owner.columns, machine.group_name)
    parts = _start(call, machine, plugs, within) if call.get("startvm", True) else ()
    secret = guest_keys.secret_params(machine.password)
    about = call.about(ABOUT, machine)
    return Accepted(parts, about, f"starting Vm. Vm Id: {machine.uuid}", secret, secret=bool(secret))


def _start(call: Call, machine: Row, plugs: list[Plug], within: Within) -> tuple[Part, ...]:
    machines.confine(call.tx, machine.id, within)
    part = machines.want(call.tx, machine, "running")
    return (*(networks.implement(call.tx, plug.network.id) for plug in plugs), part)


# ---------------------------------------------------------------- what is acceptable
def _checked(call: Call) -> New:
    zone = call.need(tables.zone, "zoneid")
    if zone.allocation_state == "Disabled" and not call.caller.is_root:
        raise Refused(f"Cannot perform this operation, Zone is currently disabled: {zone.name}", Why.NOT_ALLOWED)
    owner = call.owner()
    offering = service_offering(call, zone, owner)
    image = usable_image(call, owner)
    check_ready(call, image, zone)
    details = pairs(call.get("details"))
    hypervisor = _hypervisor(call, image)
    hostname = subnets.check_hostname(call["name"]) if call.get("name") else ""
    kept = {name: value for name, value in details.items() if name not in rules.SIZES}
    kept |= rules.keyboard(call.get("keyboard", ""))
    size = rules.size(offering, details)
    disk = call.row(tables.disk_offering, "diskofferingid")
    if disk is not None:
        offering_use.need_usable(call.tx, "Disk offering", disk, zone, owner)
    disks = _disks(call, image, offering, disk, details)
    return New(zone, owner, offering, image, size, hypervisor, disks, hostname, kept)


def service_offering(call: Call, zone: Row, owner: Owner) -> Row:
    """The compute offering that a call names, if guests of this owner may have it in the zone."""
    offering = call.need(tables.service_offering, "serviceofferingid")
    if offering.is_system:
        raise Refused(f"Service offering {offering.name} is a system offering; guests need another one")
    if offering.state != "Active":
        raise Refused(f"Service offering {offering.name} is not active")
    offering_use.need_usable(call.tx, "Service offering", offering, zone, owner)
    return offering


def usable_image(call: Call, owner: Owner, name: str = "templateid") -> Row:
    """The template or ISO that a call names, if its owner may use it."""
    image = call.need(tables.template, name, check=False)
    if image.kind in ("SYSTEM", "ROUTING"):
        raise Refused(f"Unable to use system template {image.name} to deploy a user vm")
    shared = image.is_public or owner.account_id in (image.permissions or ())
    if not shared:
        call.check_access(tables.template, image)
    return image


def check_ready(call: Call, image: Row, zone: Row) -> None:
    """Refused until the zone has the image."""
    if image.direct_download:
        return
    copies = templates.copies(call.tx, image.id, zone.id)
    if not copies:
        raise Refused(f"Template {image.name} is not available in zone {zone.name}; copy it there with copyTemplate")
    copy = images.Copy(copies[0].state, copies[0].progress, copies[0].error)
    if not images.ready(copy):
        raise Refused(f"Template {image.name} is not ready in zone {zone.name} yet: {images.status(copy)}")


def _hypervisor(call: Call, image: Row) -> str:
    wanted = call.get("hypervisor") or ""
    if image.is_iso and not wanted:
        raise Refused("Hypervisor parameter is needed to deploy VM or the hypervisor parameter value passed is invalid")
    if wanted and image.hypervisor and not image.is_iso and wanted.lower() != image.hypervisor.lower():
        raise Refused(
            "Hypervisor passed to the deployVm call, is different from the hypervisor type of the template:"
            f" {wanted} and {image.hypervisor}"
        )
    found = GUEST_HYPERVISORS.get((wanted or image.hypervisor).lower())
    if found is None:
        raise Refused(f"Guests cannot run on hypervisor {wanted or image.hypervisor}; use one of KVM, LXC, Simulator")
    return found


def _disks(call: Call, image: Row, offering: Row, disk: Row | None, details: dict[str, str]) -> tuple[NewDisk, ...]:
    if image.is_iso:
        if disk is None:
            raise Refused("Installing from ISO requires a disk offering to be specified for the root disk.")
        return (NewDisk("ROOT", rules.disk_bytes(disk, call.get("size")), None, disk.id),)
    wanted = call.get("rootdisksize")
    if wanted is None and details.get("rootdisksize", "").isdigit():
        wanted = int(details["rootdisksize"])
    root = NewDisk("ROOT", rules.root_bytes(image, offering, wanted), image.id)
    if disk is None:
        return (root,)
    return root, NewDisk("DATADISK", rules.disk_bytes(disk, call.get("size")), None, disk.id)


def _check_limits(call: Call, new: New) -> None:
    cpus = new.size.cpus or new.offering.cpus or 1
    memory = new.size.memory_mb or new.offering.memory_mb or 0
    bytes_ = sum(disk.size_bytes for disk in new.disks)
    for kind, more in (
        (Limit.GUESTS, 1),
        (Limit.CPUS, cpus),
        (Limit.MEMORY, memory),
        (Limit.VOLUMES, len(new.disks)),
        (Limit.PRIMARY_STORAGE, bytes_),
    ):
        limits.check_limit(call.tx, new.owner.account_id, kind, more)


# ---------------------------------------------------------------- rows
def _insert(call: Call, new: New) -> Row:
    uuid = call.get("customid") or call.ids.uuid()
    hostname = new.hostname or f"VM-{uuid}"
    keys = guest_keys.keys(call, new.owner)
    password = guest_keys.password_columns(call, new.image, call.get("password"))
    image: dict[str, Any] = {"iso_id": new.image.id} if new.image.is_iso else {}
    id_ = call.tx.insert(
        tables.machine,
        uuid=uuid,
        name="",
        display_name=call.get("displayname") or hostname,
        hostname=hostname,
        kind="guest",
        hypervisor=new.hypervisor,
        zone_id=new.zone.id,
        service_offering_id=new.offering.id,
        template_id=new.image.id,
        wanted="stopped",
        cpus=new.size.cpus,
        cpu_mhz=new.size.cpu_mhz,
        memory_mb=new.size.memory_mb,
        ha_enabled=bool(new.offering.offer_ha),
        display_vm=call.get("displayvm", True),
        group_name=call.get("group", ""),
        created=call.now,
        **guest_keys.with_password(call, keys.columns(new.details), password.get("password")),
        **guest_keys.user_data(call),
        **password,
        **image,
        **new.owner.columns,
    )
    call.tx.update(tables.machine, id_, name=f"i-{new.owner.account_id}-{id_}-VM")
    machine = call.tx.get(tables.machine, id_)
    assert machine is not None
    return machine


def _add_disks(call: Call, machine: Row, new: New) -> None:
    for device, disk in enumerate(new.disks):
        prefix = "ROOT" if disk.type == "ROOT" else "DATA"
        add_volume(call, machine, new.owner, f"{prefix}-{machine.id}", device, disk)


def add_volume(call: Call, machine: Row, owner: Owner, name: str, device: int, disk: NewDisk) -> int:
    """A volume of a guest; it gets its place on a primary storage with its guest's host."""
    return call.tx.insert(
        tables.volume,
        uuid=call.ids.uuid(),
        name=name,
        type=disk.type,
        zone_id=machine.zone_id,
        machine_id=machine.id,
        device=device,
        template_id=disk.template_id,
        disk_offering_id=disk.disk_offering_id,
        size_bytes=disk.size_bytes,
        format="dir" if machine.hypervisor == "LXC" else "qcow2",
        attached=call.now,
        created=call.now,
        **owner.columns,
    )
