"""migrateVirtualMachine, migrateVirtualMachineWithVolume and findHostsForMigration: a guest comes to another host of its cluster
while it runs.

Its volumes come with it where the hosts do not share them. The job ends when it runs there, or with the reason why it stays.
"""

from typing import Any

from sysvm.api.answers import hosts as answers
from sysvm.api.call import Accepted, Call, Reply
from sysvm.api.commands.guests.guests import ABOUT, the_guest
from sysvm.api.handlers import handler
from sysvm.api.listing import slice_rows
from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.queries import hosts, live_moves, volumes
from sysvm.store.store import Row


@handler("migrateVirtualMachine")
def migrate_virtual_machine(call: Call) -> Reply:
    """To the host that is named, or with autoselect to the best one."""
    row = the_guest(call, "virtualmachineid")
    if call.get("hostid") and call.get("storageid"):
        raise Refused("Only one of hostId and storageId can be specified")
    if call.get("storageid"):
        raise Refused("Storage of a VM is moved with migrateVolume, volume by volume, while it is stopped", Why.UNAVAILABLE)
    host = call.row(tables.host, "hostid")
    if host is None and not call.get("autoselect"):
        raise Refused("Please specify a host or storage as destination, or pass 'autoselect=true' to choose a host")
    if why := live_moves.why_not(call.tx, row):
        raise Refused(why)
    host = host if host is not None else _best(call, row)
    if why := live_moves.why_not_to(call.tx, row, host):
        raise Refused(why)
    part = live_moves.begin(call.tx, call.ids.uuid(), row, host)
    text = f"Attempting to migrate VM Id: {row.uuid} to host Id: {host.uuid}"
    return Accepted((part,), call.about(ABOUT, row), text)


@handler("migrateVirtualMachineWithVolume")
def migrate_virtual_machine_with_volume(call: Call) -> Reply:
    """To the host that is named; its volumes come to the storage of that host, which `migrateto` may name for each."""
    row = the_guest(call, "virtualmachineid")
    host = call.row(tables.host, "hostid")
    if host is None:
        raise Refused("hostId must be passed for migrating the VM; volumes of a stopped VM are moved with migrateVolume")
    if why := live_moves.why_not(call.tx, row) or live_moves.why_not_to(call.tx, row, host):
        raise Refused(why)
    for pair in call.get("migrateto", ()):
        _check_pool(call, row, host, pair)
    part = live_moves.begin(call.tx, call.ids.uuid(), row, host)
    text = f"Attempting to migrate VM Id: {row.uuid} to host Id: {host.uuid}"
    return Accepted((part,), call.about(ABOUT, row), text)


def _check_pool(call: Call, row: Row, host: Row, pair: dict[str, str]) -> None:
    """Refused unless the pool is where the volume will come to."""
    volume = call.find(tables.volume, pair.get("volume", ""), "migrateto")
    pool = call.find(tables.storage_pool, pair.get("pool", ""), "migrateto")
    if volume.machine_id != row.id:
        raise Refused(f"Volume {volume.name} is not attached to the vm")
    meant = volumes.pool_on(call.tx, host)
    stays = live_moves.is_on(call.tx, volume, host)
    there = volume.pool_id if stays else (meant.id if meant is not None else None)
    if pool.id != there:
        raise Refused(f"Volume {volume.name} can't come to storage {pool.name} on host {host.name}; leave migrateto out")


def _best(call: Call, row: Row) -> Row:
    found = live_moves.best(call.tx, row)
    if isinstance(found, str):
        raise Refused(f"No suitable host to migrate VM {row.name} to: {found}", Why.UNAVAILABLE)
    return found


@handler("findHostsForMigration")
def find_hosts_for_migration(call: Call) -> Reply:
    """The other hosts of its cluster; whether each can take it, and whether volumes have to be copied."""
    row = the_guest(call, "virtualmachineid")
    if why := live_moves.why_not(call.tx, row):
        raise Refused(why)
    keyword = (call.get("keyword") or "").lower()
    found = [host for host in live_moves.neighbours(call.tx, row) if keyword in host.name.lower()]
    shown = [_answer(call, row, host) for host in found]
    return slice_rows(call, shown)


def _answer(call: Call, row: Row, host: Row) -> dict[str, Any]:
    full = call.tx.one(hosts.listing().where(tables.host.c.id == host.id))
    assert full is not None
    return {
        **answers.host(full, hosts.server_names(call.tx).get(host.link_session or "")),
        "requiresStorageMotion": live_moves.needs_copies(call.tx, row, host),
        "suitableformigration": not live_moves.why_not_to(call.tx, row, host),
    }
