"""WireGuard: clients outside that have a key are on the guest network.

The interface `wg0` is the kernel's where the kernel can make one, else wireguard-go's, over a tun device; which one it is, is the
note of the service. Either way `wg syncconf` tells it who may come in, so that a peer who comes or goes disturbs nobody else, and
`wg show dump` tells what is there.

A container's next incarnation is in the same network namespace. There the kernel's interface stays, with all its sessions; that
of wireguard-go ends with its process. Peers would miss an answer for 15 seconds before they shake hands again, so they are
greeted where they were last seen: by the next incarnation, which is told (wireguard_whereabouts.py), and by a wireguard-go
that was started again. The next incarnation of a VM is told nothing; the keys are the same, so peers come by themselves.

Races: wireguard-go may die between two questions. s6 starts it again and it knows nothing; the router's watch sees that within
two seconds and tells it again. What somebody changes by hand in the kernel is seen within ten seconds: there is nothing
cheap to ask there.
"""

import shutil
import socket
import time
from collections.abc import Hashable
from pathlib import Path

import msgspec

from sysvm.agent import netlink
from sysvm.agent.command import CommandFailed, finish, run
from sysvm.agent.paths import Paths
from sysvm.agent.roles.router.service import need_tun
from sysvm.agent.roles.router.wireguard_peers import (
    DEVICE,
    Wanted,
    differing,
    endpoints,
    greeting,
    parse_dump,
    render,
    said_by_socket,
    unsent,
)
from sysvm.agent.roles.router.wireguard_whereabouts import Whereabouts
from sysvm.agent.supervision import Daemon, Supervision
from sysvm.basics.log import get_logger
from sysvm.wire.channel import ServiceSeen
from sysvm.wire.documents import RouterDocument

_SOCKET = Path("/var/run/wireguard") / f"{DEVICE}.sock"  # wireguard-go and wg know no other place
_SCRIPT = f"#!/bin/sh\nexec 2>&1\nexport LOG_LEVEL=error\nexec wireguard-go -f {DEVICE}\n"
_SAID = "/proc/self/fd/0"  # what a program is told on its standard input; VMs have no /dev/stdin
_ATTEMPTS, _PAUSE = 250, 0.02
_GREETS = 25  # pauses in which what is sent to peers must have left
_BY_HAND_S = 10.0  # how often the kernel's peers are looked at
log = get_logger()


class Wireguard:
    """The service."""

    name = "wireguard"

    def __init__(self, paths: Paths, supervision: Supervision) -> None:
        self._folder = paths.run / self.name
        self._supervision = supervision
        self._kernel = False
        self._whereabouts = Whereabouts()
        self._seen: dict[str, str] = {}  # key -> endpoint, of wireguard-go alone

    def render(self, document: RouterDocument) -> Wanted | None:
        """Who may come in. Raises Wrong."""
        return render(document)

    def apply(self, rendering: Wanted | None) -> None:
        """The interface knows exactly these peers. Raises CommandFailed or OSError."""
        self._seen |= self._whereabouts.heard()
        if rendering is None:
            self._remove()
            return
        fresh = not self._folder.exists()
        try:
            self._make(rendering)
        except (CommandFailed, OSError):
            if fresh:
                self._remove()  # there was nothing, and a half is not left to be found as somebody else's
            raise

    def _make(self, rendering: Wanted) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._kernel = _made_by_kernel()
        if not self._kernel:
            if not _is_there():
                need_tun("wireguard-go")
            self._supervision.ensure(Daemon(self.name, _SCRIPT))
            _wait()
        run("wg", "syncconf", DEVICE, _SAID, said=rendering.text())
        lines = _steps(rendering)
        if lines:
            run("ip", "-batch", "-", said="\n".join(lines) + "\n")
        if not self._kernel:
            self._greet(rendering)

    def stage(self, rendering: Wanted | None) -> None:
        """Hears from the incarnation that serves where its peers are, when that ends."""
        if rendering is not None:
            self._whereabouts.listen()

    def difference(self, rendering: Wanted | None) -> str:
        """What `wg` says, and the interface's address."""
        if rendering is None:
            return f"{DEVICE} is there" if self._folder.exists() or _is_there() else ""
        if not self._kernel and not self._supervision.pid(self.name):
            return "wireguard-go does not run"
        if not _is_there():
            return f"the interface {DEVICE} is missing"
        words = differing(rendering, parse_dump(finish("wg", "show", DEVICE, "dump").out))
        return words or "; ".join(f"needed: ip {line}" for line in _steps(rendering))

    def fingerprint(self) -> Hashable:
        """The process, what it has been told, and the kernel's routes."""
        if not self._folder.exists():
            return _is_there()
        known: Hashable = int(time.monotonic() / _BY_HAND_S) if self._kernel else said_by_socket(self._ask())
        return self._supervision.pid(self.name), _is_there(), known, netlink.addresses_and_routes()

    def daemons(self) -> tuple[ServiceSeen, ...]:
        """The service, with a note about who does it."""
        if not self._folder.exists():
            return ()
        if self._kernel:
            return (ServiceSeen(name=self.name, running=_is_there(), restarts=0, note="WireGuard by the kernel"),)
        seen = self._supervision.seen(self.name)
        return (msgspec.structs.replace(seen, note="WireGuard by wireguard-go"),)

    def stop(self) -> None:
        """wireguard-go ends, and its interface with it; the kernel's is the next incarnation's."""
        if not self._kernel:
            self._ask()
            self._whereabouts.tell(self._seen)
        self._supervision.stop(self.name)

    def _ask(self) -> str:
        """What wireguard-go says; empty when it does not answer. Where its peers are is kept."""
        said = _told()
        self._seen |= endpoints(said)
        return said

    def _greet(self, wanted: Wanted) -> None:
        """Shakes hands with peers that were seen before this wireguard-go was there."""
        met = endpoints(_told())
        lost = {key: place for key, place in self._seen.items() if key not in met}
        text = greeting(wanted, lost, keepalive="1")
        if not text:
            return
        run("wg", "addconf", DEVICE, _SAID, said=text)
        for _ in range(_GREETS):
            if not unsent(_told(), lost):
                break
            time.sleep(_PAUSE)
        run("wg", "addconf", DEVICE, _SAID, said=greeting(wanted, lost, keepalive="off"))
        log.info("wireguard_peers_greeted", peers=len(lost))

    def _remove(self) -> None:
        self._seen.clear()
        self._supervision.remove(self.name)
        if _is_there():
            run("ip", "link", "del", DEVICE)
        shutil.rmtree(self._folder, ignore_errors=True)


# ---------------------------------------------------------------- the interface
def _is_there() -> bool:
    return any(name == DEVICE for _, name in socket.if_nameindex())


def _made_by_kernel() -> bool:
    """Whether the kernel has the interface; it is made when there is none, and the kernel can."""
    if _is_there():
        return finish("ip", "-d", "link", "show", "dev", DEVICE, "type", "wireguard").out.strip() != ""
    return finish("ip", "link", "add", DEVICE, "type", "wireguard").code == 0


def _wait() -> None:
    """wireguard-go, which may just have been started, has its interface and listens. Raises CommandFailed."""
    for _ in range(_ATTEMPTS):
        if _is_there() and _told():
            return
        time.sleep(_PAUSE)
    raise CommandFailed("wireguard-go", f"made no interface {DEVICE}")


def _told() -> str:
    """What wireguard-go knows; empty when it does not answer. Its socket is asked, which takes no program."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as handle:
            handle.settimeout(2.0)
            handle.connect(str(_SOCKET))
            handle.sendall(b"get=1\n\n")
            data = b""
            while not data.endswith(b"\n\n") and (part := handle.recv(1 << 16)):
                data += part
    except OSError:
        return ""
    return data.decode(errors="replace")


def _steps(wanted: Wanted) -> tuple[str, ...]:
    """`ip` lines from what is to what must be."""
    listed = msgspec.json.decode(run("ip", "-4", "-j", "address", "show", "dev", DEVICE) or "[]")
    link = next((each for each in listed if each.get("ifname") == DEVICE), None)
    held = [f"{each['local']}/{each['prefixlen']}" for each in (link or {}).get("addr_info", ())]
    lines = [f"address del {text} dev {DEVICE}" for text in held if text != wanted.address]
    if wanted.address not in held:
        lines.append(f"address add {wanted.address} dev {DEVICE}")
    if link is None or link["mtu"] != wanted.mtu or "UP" not in link["flags"]:
        lines.append(f"link set dev {DEVICE} mtu {wanted.mtu} up")
    return tuple(lines)
