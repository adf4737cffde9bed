"""Whether this incarnation serves, or stands by while another one of its machine does.

Two containers of a router share one network namespace for the moment of a replacement. Only the holder of the right writes
rules and addresses there and runs daemons. The right is a name in that namespace (an abstract socket), so that the kernel
gives it to one process only, and takes it back when that process ends, however it ends. In a VM nobody else is there to ask.

What the host said last is kept on the state disk: an incarnation that was told to stand by does so after a restart, too,
with no host anywhere. Before the first word the boot data say it.
"""

import socket

from sysvm.agent.paths import Paths
from sysvm.agent.seal import write_whole
from sysvm.basics.log import get_logger
from sysvm.wire.machines import BootData, Kind

log = get_logger()


class Right:
    """The right of one machine to be served by this incarnation."""

    def __init__(self, paths: Paths, boot: BootData) -> None:
        self._mark = paths.state / "holder"
        self._name = f"\0sysvm-holder-{boot.machine}" if boot.kind is Kind.ROUTER else ""
        self._handle: socket.socket | None = None
        self.untold = not self._mark.exists()  # it begins for the first time
        self._told = self._read(boot)
        self.held = False

    def resume(self) -> bool:
        """At the start: takes the right if it was ours when we were last told; True when it is."""
        self.held = self._told and self._grab()
        return self.held

    def take(self) -> bool:
        """The host has said so; False while another process of the namespace has it."""
        if not self._grab():
            return False
        self._remember("yes")
        self.held = True
        return True

    def leave(self) -> None:
        """The host has said so: from now on another one may have it."""
        self._remember("no")
        self.held = False
        if self._handle is not None:
            self._handle.close()
            self._handle = None

    def _grab(self) -> bool:
        if self._handle is not None or not self._name:
            return True
        handle = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            handle.bind(self._name)
        except OSError:
            handle.close()
            return False
        self._handle = handle
        return True

    def _read(self, boot: BootData) -> bool:
        try:
            return self._mark.read_text() == "yes"
        except FileNotFoundError:
            return not boot.standby

    def _remember(self, told: str) -> None:
        try:
            write_whole(self._mark, told.encode())
        except OSError as error:
            log.error("holder_not_kept", why=str(error))
