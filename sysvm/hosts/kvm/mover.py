"""QEMU machines move to another host's libvirtd while they run. Satisfies driver.Mover.

libvirt copies disks and memory and leaves the guest paused where it has come; then, when it is gone here, this agent lets it run
there. So there are never two of them that run, whatever dies at any instant:

- this agent, or the way between the hosts: libvirt gives up, the guest runs on here, and a look says `failed`;
- this libvirtd: the guest is found running, or paused by the unfinished move; it runs on when it is called back (ensure_running);
- the other libvirtd or its host: the same;
- this agent after the guest has left: a look says `sent`, and the other host lets it run when it is told to.

A move is made once for each attempt. Converging is libvirt's: a guest that writes faster than the way carries is slowed down.
"""

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sysvm.basics.errors import NotYet, leaves
from sysvm.basics.log import get_logger
from sysvm.basics.tasks import Tasks
from sysvm.hosts.driver import DriverUnavailable
from sysvm.hosts.kvm import belongings, domain
from sysvm.hosts.kvm.connection import load
from sysvm.hosts.kvm.marks import Key, Landing, Leaving
from sysvm.hosts.kvm.moved import disk_targets, moved_xml
from sysvm.hosts.layout import Layout
from sysvm.hosts.moves.doors import STREAMS, Doors, Guest, tunnel
from sysvm.wire.link import EnsureLanding, EnsureSent
from sysvm.wire.machines import Disk, LandingPlace

if TYPE_CHECKING:
    from sysvm.hosts.kvm.driver import KvmDriver

INSIDE = "/run/libvirt/moving"  # where libvirt sees the sockets
log = get_logger()


class KvmMover:
    """Beside a KvmDriver. `host` is our name in our certificate, `context` our TLS context towards another host."""

    def __init__(
        self, driver: "KvmDriver", layout: Layout, doors: Doors, tasks: Tasks, *,
        host: Callable[[], str], context: Callable[[], ssl.SSLContext], changed: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._driver = driver
        self._layout = layout
        self._doors = doors
        self._tasks = tasks
        self._host = host
        self._context = context
        self._changed = changed

    # ------------------------------------------------------------ here
    async def begin_landing(self, order: EnsureLanding) -> None:
        """See Mover."""
        key = (order.spec.machine, order.spec.incarnation)
        self._driver.write_spec(order.spec)
        mark = self._driver.marks.landing(key)
        if mark is None or mark.attempt != order.attempt:
            disks = tuple(disk for disk in order.spec.disks if disk.volume in order.copied)
            self._driver.marks.write(key, Landing(attempt=order.attempt, disks=disks))

    async def ensure_landing(self, order: EnsureLanding) -> None:
        """See Mover."""
        spec = order.spec
        key = (spec.machine, spec.incarnation)
        await self._driver.ensure_libvirt()
        places, owner = await self._driver.make_room(spec), self._driver.owner(spec.machine)
        sockets = self._sockets(order.attempt)
        belongings.give_folder(sockets["memory"].parent, owner)
        leads_to = {**sockets, "libvirt": self._driver.libvirt_socket}
        port = self._doors.open(order.attempt, Guest(order.sender, leads_to, lambda: self._expects(key, order.attempt)))
        self._driver.marks.places[key] = LandingPlace(
            address=self._doors.address,
            port=port,
            host=self._host(),
            mark=self._layout.hash8,
            sockets=str(places.sockets),
            console_log=str(places.console_log),
            ports={str(device): name for device, name in places.ports.items()},
            iso=str(places.iso) if places.iso is not None else "",
            owner=owner.label,
        )

    def _expects(self, key: Key, attempt: str) -> bool:
        mark = self._driver.marks.landing(key)
        return mark is not None and mark.attempt == attempt

    def landing(self, machine: str, incarnation: int) -> tuple[Disk, ...]:
        """See Mover."""
        mark = self._driver.marks.landing((machine, incarnation))
        return mark.disks if mark is not None else ()

    # ------------------------------------------------------------ there
    async def ensure_sent(self, order: EnsureSent) -> None:
        """See Mover."""
        key = (order.spec.machine, order.spec.incarnation)
        mark = self._driver.marks.leaving(key)
        if mark is not None and mark.attempt == order.attempt:
            return
        self._driver.marks.clear(key)
        self._driver.marks.write(key, Leaving(attempt=order.attempt))
        self._driver.marks.sending.add(key)
        self._tasks.start(self._send(order), f"send {order.spec.name}")

    async def _send(self, order: EnsureSent) -> None:
        key = (order.spec.machine, order.spec.incarnation)
        sockets, why = self._sockets(order.attempt), ""
        try:
            owner = await self._driver.running_owner(*key)
            belongings.give_folder(sockets["memory"].parent, owner)
            async with tunnel(sockets, order.place, order.attempt, self._layout.namespace, self._context(), owner):
                why = await self._try(key, order, str(sockets["libvirt"]))
        except* (OSError, NotYet, DriverUnavailable) as errors:
            why = "; ".join(map(str, leaves(errors)))
        finally:
            self._driver.marks.sending.discard(key)
        if why and self._driver.marks.leaving(key) is not None:
            self._driver.marks.write(key, Leaving(attempt=order.attempt, why=why))
        log.info("machine_not_sent" if why else "machine_sent", machine=order.spec.machine, to=order.place.host, why=why)
        self._changed(order.spec.machine)

    async def _try(self, key: Key, order: EnsureSent, other: str) -> str:
        """Why it is still here; `other`: the way to the other host's libvirtd."""
        name = domain.domain_name(*key)
        why = await asyncio.to_thread(_said, lambda: _migrate(str(self._driver.libvirt_socket), name, order))
        if not why and (late := await asyncio.to_thread(_said, lambda: _let_run(other, name))):
            log.warning("machine_not_let_run", machine=key[0], why=late)  # its host does that when it is told to
        return why

    def _sockets(self, attempt: str) -> dict[str, Path]:
        folder = self._driver.libvirt_socket.parent / "moving" / attempt[:8]
        return {stream: folder / f"{stream}.sock" for stream in STREAMS}


# ---------------------------------------------------------------- in threads of their own
def _said(act: Callable[[], None]) -> str:
    """What libvirt says against it. No error leaves the thread: with its frames it keeps the connection, whose end would be
    waited for by the loop that carries its bytes."""
    try:
        act()
    except load().libvirtError as error:
        return str(error)
    return ""


def _migrate(socket: str, name: str, order: EnsureSent) -> None:
    """Copies everything; afterwards the guest is gone here and paused there. Raises libvirtError when it is still here."""
    libvirt = load()
    connection = libvirt.open(f"qemu+unix:///system?socket={socket}")
    try:
        one = connection.lookupByName(name)
        live = one.XMLDesc(libvirt.VIR_DOMAIN_XML_SECURE | libvirt.VIR_DOMAIN_XML_MIGRATABLE)
        there = moved_xml(live, order.there, order.place)
        inside = f"{INSIDE}/{order.attempt[:8]}"
        wanted: dict[str, Any] = {
            libvirt.VIR_MIGRATE_PARAM_URI: f"unix://{inside}/memory.sock",
            libvirt.VIR_MIGRATE_PARAM_DEST_XML: there,
            libvirt.VIR_MIGRATE_PARAM_PERSIST_XML: there,
        }
        flags = (
            libvirt.VIR_MIGRATE_LIVE
            | libvirt.VIR_MIGRATE_PEER2PEER
            | libvirt.VIR_MIGRATE_PERSIST_DEST
            | libvirt.VIR_MIGRATE_UNDEFINE_SOURCE
            | libvirt.VIR_MIGRATE_PAUSED
            | libvirt.VIR_MIGRATE_AUTO_CONVERGE
            | libvirt.VIR_MIGRATE_ABORT_ON_ERROR
            | libvirt.VIR_MIGRATE_UNSAFE
        )
        if targets := disk_targets(order.there, order.copied):
            flags |= libvirt.VIR_MIGRATE_NON_SHARED_DISK
            wanted[libvirt.VIR_MIGRATE_PARAM_MIGRATE_DISKS] = targets
            wanted[libvirt.VIR_MIGRATE_PARAM_DISKS_URI] = f"unix://{inside}/disks.sock"
        one.migrateToURI3(f"qemu+unix:///system?socket={inside}/libvirt.sock", wanted, flags)
    finally:
        connection.close()


def _let_run(socket: str, name: str) -> None:
    """It runs where it has come, and says where it is."""
    import libvirt_qemu

    libvirt = load()
    connection = libvirt.open(f"qemu+unix:///system?socket={socket}")
    try:
        one = connection.lookupByName(name)
        try:
            one.resume()
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_OPERATION_INVALID:  # its host has let it run already
                raise
        libvirt_qemu.qemuMonitorCommand(one, domain.ANNOUNCE, 0)
    finally:
        connection.close()
