"""libvirt's blocking calls from asyncio: one thread for one connection, and libvirt's events on the caller's loop.

A call that the daemon does not answer in time, or whose connection breaks, is DriverUnavailable: what the daemon runs is
unknown then. The connection is thrown away together with its thread (libvirt's keep-alive ends the stuck call), and the
next call opens a new one, starting the daemon if it is gone.

libvirt's own event loop is one for the process and runs in a daemon thread; callbacks only hand over to asyncio.
The module `libvirt` is imported when it is first needed, so that a host of containers does not need the library.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from sysvm.basics.log import get_logger
from sysvm.hosts.driver import DriverUnavailable
from sysvm.hosts.kvm.daemon import Daemon

T = TypeVar("T")
Heard = Callable[[str], None]

_KEEPALIVE = (5, 3)
_events = threading.Lock()
_events_running = False
log = get_logger()


def load() -> Any:
    """The module libvirt; DriverUnavailable when the library is not on this host."""
    try:
        import libvirt
    except ImportError as error:
        raise DriverUnavailable(f"libvirt cannot be loaded: {error}") from error
    return libvirt


def find(connection: Any, name: str) -> Any:
    """The domain of this name; None where there is none."""
    libvirt = load()
    try:
        return connection.lookupByName(name)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return None
        raise


def _run_events(libvirt: Any) -> None:
    while True:
        libvirt.virEventRunDefaultImpl()


def _ensure_events(libvirt: Any) -> None:
    global _events_running
    with _events:
        if _events_running:
            return
        libvirt.virEventRegisterDefaultImpl()
        libvirt.registerErrorHandler(lambda *_: None, None)
        threading.Thread(target=_run_events, args=(libvirt,), name="libvirt-events", daemon=True).start()
        _events_running = True


class Connection:
    """The one connection of a driver; opens itself when it is used."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._opening = asyncio.Lock()
        self._connection: Any = None
        self._thread: ThreadPoolExecutor | None = None
        self._ended = asyncio.Event()
        self._heard: Heard = lambda name: None

    async def call(self, work: Callable[[Any], T], *, seconds: float = 20.0) -> T:
        """`work(connection)` in the connection's thread. libvirtError of a living connection is passed on."""
        libvirt = load()
        await self._ensure_open(libvirt, seconds)
        connection, thread = self._connection, self._thread
        asked = asyncio.get_running_loop().run_in_executor(thread, work, connection)
        try:
            async with asyncio.timeout(seconds):
                return await asked
        except asyncio.CancelledError:
            me = asyncio.current_task()
            if me is None or me.cancelling() or self._connection is connection:
                raise
            # What waits in a connection's queue goes with it, as if its caller had been cancelled.
            raise DriverUnavailable("the connection to libvirtd broke before it was asked") from None
        except TimeoutError as error:
            self._drop(connection)
            raise DriverUnavailable(f"libvirtd has not answered for {seconds:g} s") from error
        except libvirt.libvirtError as error:
            if not _is_broken(libvirt, error, connection):
                raise
            self._drop(connection)
            raise DriverUnavailable(f"the connection to libvirtd broke: {error}") from error

    async def _ensure_open(self, libvirt: Any, seconds: float) -> None:
        async with self._opening:
            if self._connection is not None:
                return
            socket = await self._daemon.ensure()
            _ensure_events(libvirt)
            thread, loop = ThreadPoolExecutor(1, thread_name_prefix="libvirt"), asyncio.get_running_loop()
            try:
                async with asyncio.timeout(seconds):
                    opened = await loop.run_in_executor(thread, self._open, libvirt, str(socket), loop)
            except (TimeoutError, libvirt.libvirtError) as error:
                thread.shutdown(wait=False, cancel_futures=True)
                raise DriverUnavailable(f"libvirtd does not answer: {error}") from error
            self._connection, self._thread, self._ended = opened, thread, asyncio.Event()

    def _open(self, libvirt: Any, socket: str, loop: asyncio.AbstractEventLoop) -> Any:
        def moved(_: Any, domain: Any, event: int, detail: int, opaque: Any) -> None:
            loop.call_soon_threadsafe(self._tell, domain.name())

        def closed(connection: Any, reason: int, opaque: Any) -> None:
            loop.call_soon_threadsafe(self._drop, connection)

        connection = libvirt.open(f"qemu+unix:///system?socket={socket}")
        connection.setKeepAlive(*_KEEPALIVE)
        connection.registerCloseCallback(closed, None)
        connection.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, moved, None)
        return connection

    def _tell(self, name: str) -> None:
        self._heard(name)

    def _drop(self, connection: Any) -> None:
        if self._connection is not connection:
            return
        self._connection = None
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)
        self._ended.set()

    async def watch(self, heard: Heard) -> None:
        """Calls `heard(name of domain)` at each of its transitions, until the connection ends."""
        self._heard = heard
        await self.call(lambda connection: connection.isAlive())
        await self._ended.wait()

    def close(self) -> None:
        """Lets go of the connection; what runs goes on running."""
        connection, thread = self._connection, self._thread
        self._connection = None
        self._ended.set()
        if thread is not None:
            if connection is not None:
                thread.submit(connection.close)
            thread.shutdown(wait=False)


def _is_broken(libvirt: Any, error: Any, connection: Any) -> bool:
    return bool(error.get_error_domain() == libvirt.VIR_FROM_RPC or connection.isAlive() != 1)
