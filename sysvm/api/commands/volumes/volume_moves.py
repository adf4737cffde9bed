"""migrateVolume: a volume comes to other primary storage, that of another host.

It goes over the image store of the zone in the way of snapshots, so hosts need not reach each other. The guest that it belongs
to is stopped meanwhile. Where it was it goes when it is whole where it shall be.
"""

from sysvm.api.call import Accepted, Call, Reply
from sysvm.api.commands.guests.vm_snapshots import need_none
from sysvm.api.commands.images import images
from sysvm.api.commands.offerings.offering_use import owner_of
from sysvm.api.commands.volumes.snapshots import need_copyable
from sysvm.api.commands.volumes.volumes import disk_offering
from sysvm.api.handlers import handler
from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.queries import machine_rows, snapshots, volumes
from sysvm.store.store import Row


@handler("migrateVolume")
def migrate_volume(call: Call) -> Reply:
    """The job ends when the volume is where it shall be."""
    volume, pool = call.need(tables.volume, "volumeid"), call.need(tables.storage_pool, "storageid")
    need_copyable(volume)
    if volume.move_host_id is not None:
        raise Refused(f"Volume {volume.name} is yet to be removed where it was; try again later", Why.IN_USE)
    if (busy := snapshots.of_volume_under_way(call.tx, volume.id)) is not None:
        raise Refused(f"Snapshot {busy.name} is being made of the volume; wait for it or delete it", Why.IN_USE)
    host = _host(call, volume, pool)
    _check_guest(call, volume, host)
    zone = call.tx.get(tables.zone, volume.zone_id)
    assert zone is not None
    images.need_store(call.tx, zone)
    _offering(call, volume, zone)
    part = volumes.move(call.tx, call.ids, volume, host, pool)
    about = call.about("Volume", volume)
    return Accepted((part,), about, f"Attempting to migrate volume Id: {volume.uuid} to storage pool Id: {pool.uuid}")


def _host(call: Call, volume: Row, pool: Row) -> Row:
    """Whose storage that is."""
    if pool.zone_id != volume.zone_id or pool.state != "Up":
        raise Refused(f"Storage pool {pool.name} is not up in the volume's zone")
    if pool.id == volume.pool_id:
        raise Refused(f"Volume {volume.name} is on storage pool {pool.name} already")
    host = call.tx.get(tables.host, pool.host_id) if pool.host_id is not None else None
    here = call.tx.get(tables.host, volume.host_id)
    if host is None:
        host = volumes.some_host(call.tx, volume.zone_id, volume.host_id)
    if host is None or host.removed is not None or host.state != "Up":
        raise Refused(f"No host that has storage pool {pool.name} is up", Why.UNAVAILABLE)
    if here is not None and here.hypervisor != host.hypervisor:
        raise Refused(f"Host {host.name} is of hypervisor {host.hypervisor}, the volume is one of {here.hypervisor}")
    return host


def _check_guest(call: Call, volume: Row, host: Row) -> None:
    guest = call.tx.get(tables.machine, volume.machine_id) if volume.machine_id is not None else None
    if guest is None:
        return
    if guest.wanted == "running" or machine_rows.state_of(guest) not in ("Stopped", "Error"):
        raise Refused("Volumes of running VMs can't be moved: stop the VM first", Why.UNAVAILABLE)
    need_none(call.tx, guest.id, "move a volume")
    others = [row for row in volumes.of_machine(call.tx, guest.id) if row.id != volume.id]
    stays = next((row for row in others if row.host_id not in (None, host.id)), None)
    if stays is not None:
        raise Refused(
            f"Volume {stays.name} of the same VM is on another host's storage than {host.name}'s, and a VM has all its"
            " volumes on one host: detach data volumes, move each, and attach them again"
        )


def _offering(call: Call, volume: Row, zone: Row) -> None:
    """A new offering for the volume where it goes; it does not change its size."""
    offering = disk_offering(call, zone, owner_of(volume), "newdiskofferingid")
    if offering is None:
        return
    if volume.type == "ROOT":
        raise Refused("A root volume has no disk offering: leave newdiskofferingid out")
    if not offering.customized and offering.size_bytes != volume.size_bytes:
        raise Refused(f"Disk offering {offering.name} has another size than the volume; change it with resizeVolume")
    call.tx.update(tables.volume, volume.id, disk_offering_id=offering.id)
