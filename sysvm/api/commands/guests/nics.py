"""NICs of guests and further addresses on them.

A NIC that is added to a running VM appears at its next start; a container gets it at once. None is taken from a running
VM: its address could be somebody else's before the VM lets go of it.
"""

import ipaddress
from collections.abc import Sequence
from typing import Any

from sysvm.api.answers import nics as answers
from sysvm.api.call import Accepted, Call, Owner, Reply, Rows
from sysvm.api.commands.guests import guest_networks
from sysvm.api.commands.guests.guest_networks import Plug
from sysvm.api.commands.guests.guests import the_guest
from sysvm.api.commands.guests.vm_snapshots import need_none
from sysvm.api.commands.networks.guest_addresses import address_in_use
from sysvm.api.commands.networks.networks import usable_network
from sysvm.api.commands.owned import is_admin
from sysvm.api.handlers import handler, result
from sysvm.api.listing import slice_rows
from sysvm.api.rules import guests as rules
from sysvm.api.rules import ranges6
from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.queries import addresses, machine_rows, machines, networks, nics, routers, security_groups, turns
from sysvm.store.queries.events import About
from sysvm.store.queries.jobs import Part
from sysvm.store.queries.nics import NicRow
from sysvm.store.store import Row, Tx

ABOUT = "VirtualMachine"
MOST_NICS = 16
MOST_SECONDARY = 256  # per NIC, CloudStack's vm.network.nic.max.secondary.ipaddresses


@handler("listNics")
def list_nics(call: Call) -> Reply:
    """NICs of one machine; of system VMs for administrators."""
    row = call.need(tables.machine, "virtualmachineid")
    admin = is_admin(call.caller)
    if row.kind != "guest" and not admin:
        raise Refused(f"Unable to find a virtual machine with id {call['virtualmachineid']}")
    view = routers.one(call.tx, row.id)
    assert view is not None
    found: Sequence[NicRow] = view.nics
    if (wanted := call.row(tables.nic, "nicid")) is not None:
        found = [nic for nic in found if nic.id == wanted.id]
    if call.get("networkid"):
        network = usable_network(call, call["networkid"], "networkid")
        found = [nic for nic in found if nic.network_id == network.id]
    rows = [answers.nic(nic, view.networks, view.row.zone_uuid, row.uuid, admin=admin) for nic in found]
    return slice_rows(call, rows) if rows else Rows([], 0)


def _the_nic(call: Call, name: str = "nicid") -> tuple[NicRow, Row]:
    """The NIC of a guest that a parameter names, with the guest."""
    found = call.need(tables.nic, name)
    machine = call.tx.get(tables.machine, found.machine_id)
    if machine is None or machine.kind != "guest" or machine.removed is not None:
        raise Refused(f"Unable to find a NIC of a user vm by id {call[name]}")
    call.check_access(tables.machine, machine)
    return nics.with_addresses(call.tx, [found])[0], machine


def _changed(call: Call, machine: Row, network_ids: Sequence[int | None]) -> tuple[Part, ...]:
    """The guest's host and its routers take the change; what to wait for."""
    parts = [part for id_ in network_ids if id_ is not None for part in machines.wish_documents(call.tx, id_)]
    parts += security_groups.moved(call.tx, machine.id)
    if machine.wanted == "running":
        parts.append(Part("machine", machine.id, turns.wish(call.tx, "machine", machine.id), "running"))
    return tuple(parts)


# ---------------------------------------------------------------- more NICs, fewer NICs
@handler("addNicToVirtualMachine")
def add_nic_to_virtual_machine(call: Call) -> Reply:
    """One more network for a guest."""
    row = the_guest(call, "virtualmachineid")
    need_none(call.tx, row.id, "add a NIC", memory=True)
    network = usable_network(call, call["networkid"], "networkid")
    zone = call.tx.get(tables.zone, row.zone_id)
    assert zone is not None
    guest_networks.check(call, network, zone, Owner(row.account_id, row.domain_id, row.domain_path))
    held = nics.of_machine(call.tx, row.id)
    if any(nic.network_id == network.id for nic in held):
        raise Refused(f"A NIC already exists for the vm in network {network.name}")
    if len(held) >= MOST_NICS:
        raise Refused(f"A vm has at most {MOST_NICS} NICs")
    guest_networks.check_hostname(call.tx, row.hostname, [network], row.id)
    mac = rules.mac(call["macaddress"]) if call.get("macaddress") else None
    device = next(number for number in range(MOST_NICS) if number not in {nic.device for nic in held})
    plug = Plug(network, call.get("ipaddress"), mac)
    guest_networks.plug_in(call.tx, row.id, device, plug, default=not held)
    parts = _changed(call, row, [network.id])
    if row.wanted == "running":
        parts = (networks.implement(call.tx, network.id), *parts)
    return Accepted(parts, call.about(ABOUT, row), f"adding network {network.uuid} to Vm Id: {row.uuid}")


@handler("removeNicFromVirtualMachine")
def remove_nic_from_virtual_machine(call: Call) -> Reply:
    """One network less; never the default one, nor one that rules lead to."""
    row = the_guest(call, "virtualmachineid")
    need_none(call.tx, row.id, "remove a NIC", memory=True)
    nic, machine = _the_nic(call)
    if machine.id != row.id:
        raise Refused("The NIC is not one of this vm")
    if nic.is_default:
        raise Refused(f"Unable to remove nic from {row.display_name}: it is the default nic")
    if machine_rows.state_of(row) != "Stopped" and row.hypervisor == "KVM":
        raise Refused("A NIC can't be taken from a running vm; stop it first", Why.UNAVAILABLE)
    for held in nic.addresses:
        _refuse_used(call.tx, held.text, row, nic)
    nics.remove_nic(call.tx, nic.id)
    return Accepted(_changed(call, row, [nic.network_id]), call.about(ABOUT, row), f"removing nic from Vm Id: {row.uuid}")


def _refuse_used(tx: Tx, text: str, machine: Row, nic: NicRow) -> None:
    if nic.network_id is not None and address_in_use(tx, tables.pack_address(text), machine.id, nic.network_id):
        raise Refused(
            f"Can't remove address {text}: port forwarding rules, load balancers or static nat lead to it; delete those first",
            Why.IN_USE,
        )


@handler("updateDefaultNicForVirtualMachine")
def update_default_nic_for_virtual_machine(call: Call) -> Reply:
    """Another NIC is the default one from the guest's next lease on."""
    row = the_guest(call, "virtualmachineid")
    need_none(call.tx, row.id, "remove a NIC", memory=True)
    nic, machine = _the_nic(call)
    if machine.id != row.id:
        raise Refused("The NIC is not one of this vm")
    if nic.is_default:
        raise Refused("The nic is already the default nic of the vm")
    held = nics.of_machine(call.tx, row.id)
    for other in held:
        call.tx.update(tables.nic, other.id, is_default=other.id == nic.id)
    parts = _changed(call, row, [other.network_id for other in held])
    return Accepted(parts, call.about(ABOUT, row), f"Updating NIC {nic.uuid} on user vm: {row.uuid}")


# ---------------------------------------------------------------- addresses
@handler("addIpToNic")
def add_ip_to_nic(call: Call) -> Reply:
    """One more address that the guest may use; the guest sets it up itself."""
    nic, machine = _the_nic(call)
    network = call.tx.get(tables.network, nic.network_id) if nic.network_id is not None else None
    if network is None or not network.cidr:
        raise Refused("The NIC's network has no addresses to give")
    if len(nic.addresses) > MOST_SECONDARY:
        raise Refused(f"Maximum number of secondary addresses of a nic is {MOST_SECONDARY}")
    text, prefix = _one_more(call.tx, nic, network, call.get("ipaddress"))
    id_ = nics.add_address(call.tx, nic.id, text, prefix, network_id=network.id)
    added = call.tx.get(tables.nic_address, id_)
    assert added is not None
    parts = _changed(call, machine, [])
    return Accepted(parts, About("NicSecondaryIp", id_, added.uuid, text), f"associating secondary ip to nic: {nic.uuid}")


def _one_more(tx: Tx, nic: NicRow, network: Row, wanted: str | None) -> tuple[str, int]:
    """An address and the length of its prefix; of IPv6 only when one is named."""
    if wanted is not None and ":" in wanted:
        if not network.ip6_cidr:
            raise Refused(f"Network {network.name} has no IPv6 addresses")
        return addresses.take_guest_ip6(tx, network, nic.mac, wanted), ranges6.PREFIX
    return addresses.take_guest_ip(tx, network, wanted), ipaddress.ip_network(network.cidr).prefixlen


@result("addIpToNic")
def _address_result(tx: Tx, job: Row) -> dict[str, Any]:
    row = tx.get(tables.nic_address, job.instance_id)
    assert row is not None
    nic, network = tx.get(tables.nic, row.nic_id), tx.get(tables.network, row.network_id)
    assert nic is not None and network is not None
    machine = tx.get(tables.machine, nic.machine_id)
    assert machine is not None
    return answers.secondary_ip(nic.uuid, network.uuid, machine.uuid, row.uuid, tables.unpack_address(row.address))


@handler("removeIpFromNic")
def remove_ip_from_nic(call: Call) -> Reply:
    """The guest may no longer use it."""
    row = call.need(tables.nic_address, "id")
    found = call.tx.get(tables.nic, row.nic_id)
    machine = call.tx.get(tables.machine, found.machine_id) if found is not None else None
    if found is None or machine is None or machine.kind != "guest":
        raise Refused("Unable to find the secondary ip")
    call.check_access(tables.machine, machine)
    if row.is_primary:
        raise Refused("Primary ip address of a nic can't be removed; remove the nic")
    nic = nics.with_addresses(call.tx, [found])[0]
    text = tables.unpack_address(row.address)
    _refuse_used(call.tx, text, machine, nic)
    call.tx.update(tables.nic_address, row.id, removed=call.now)
    parts = _changed(call, machine, [])
    return Accepted(parts, About("NicSecondaryIp", row.id, row.uuid, text), f"disassociating secondary ip from nic: {nic.uuid}")


@handler("updateVmNicIp")
def update_vm_nic_ip(call: Call) -> Reply:
    """Another primary address for a stopped guest."""
    nic, machine = _the_nic(call)
    network = call.tx.get(tables.network, nic.network_id) if nic.network_id is not None else None
    if network is None or nic.primary is None:
        raise Refused("The NIC has no address that could be another one")
    if machine_rows.state_of(machine) != "Stopped":
        raise Refused("The vm must be stopped to change the address of its nic")
    _refuse_used(call.tx, nic.primary.text, machine, nic)
    text = addresses.take_guest_ip(call.tx, network, call.get("ipaddress"))
    nics.set_primary(call.tx, nic.id, text, nic.primary.prefix, nic.gateway)
    parts = _changed(call, machine, [network.id])
    return Accepted(parts, call.about(ABOUT, machine), f"updating ip of nic {nic.uuid} to {text}")
