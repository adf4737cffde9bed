"""The drives of guests: an ISO comes into one, or goes out of it, also while the guest runs."""

from sysvm.api import errors
from sysvm.api.call import Accepted, Call, Owner, Reply
from sysvm.api.commands.guests import guest_deploy
from sysvm.api.commands.guests.guests import ABOUT, the_guest
from sysvm.api.handlers import handler
from sysvm.api.rules import volumes as rules
from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.queries import machine_rows, machines
from sysvm.store.queries.jobs import Part
from sysvm.store.store import Row


def _guest(call: Call) -> Row:
    guest = the_guest(call, "virtualmachineid")
    state = machine_rows.state_of(guest)
    if state not in rules.QUIET:
        raise Refused(f"Please specify a VM that is either Stopped or Running: {guest.display_name} is {state}")
    if guest.hypervisor == "LXC":
        raise Refused("A container has no drive for an ISO", Why.UNAVAILABLE)
    return guest


def _put(call: Call, guest: Row, iso_id: int | None) -> tuple[Part, ...]:
    call.tx.update(tables.machine, guest.id, iso_id=iso_id)
    return (machines.wish_document(call.tx, guest.id),) if guest.wanted == "running" else ()


@handler("attachIso")
def attach_iso(call: Call) -> Reply:
    """The ISO is in the guest's drive, instead of what was there."""
    guest = _guest(call)
    owner = Owner(guest.account_id, guest.domain_id, guest.domain_path)
    iso = guest_deploy.usable_image(call, owner, "id")
    if not iso.is_iso:
        raise errors.unknown_entity(call.command.name, "id", iso.uuid)
    zone = call.tx.get(tables.zone, guest.zone_id)
    assert zone is not None
    guest_deploy.check_ready(call, iso, zone)
    parts = _put(call, guest, iso.id)
    return Accepted(parts, call.about(ABOUT, guest), f"attaching ISO: {iso.uuid} to Vm: {guest.uuid}")


@handler("detachIso")
def detach_iso(call: Call) -> Reply:
    """The drive is empty."""
    guest = _guest(call)
    if guest.iso_id is None:
        raise Refused("The specified VM has no ISO attached to it.")
    return Accepted(_put(call, guest, None), call.about(ABOUT, guest), f"detaching ISO from Vm: {guest.uuid}")
