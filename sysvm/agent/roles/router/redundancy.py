"""A router of a pair: keepalived, conntrackd, and what only the one that serves may do. What both are told is in pairing.py.

Who serves is what the kernel says: whoever has the guests' gateway. A backup has every rule and daemon, warm, with a lock before
what guests would notice: DHCP and router advertisements, which are not asked of the gateway's address. The lock is a table of
its own, taken away and put back when addresses come and go.

A router that was alone and becomes one of a pair has the shared addresses already. It takes them over from itself, at once,
with the owner's priority, and gets its own one afterwards: nobody waits for three advertisements that cannot come. Whoever starts
without addresses is a backup, also one whose keepalived was killed: keepalived takes away what the one before has left.

The one that stops serving loses its way out a moment before guests hear of the other one. What they send meanwhile is dropped by
a route to nowhere, and sent again: told that the network is unreachable, a connection that begins would give up.
"""

import contextlib
import os
import shutil
import time
from collections.abc import Hashable
from ipaddress import ip_interface

from sysvm.agent import netlink
from sysvm.agent.command import CommandFailed, run
from sysvm.agent.paths import Paths
from sysvm.agent.roles.router import pairing
from sysvm.agent.roles.router.pairing import Pair
from sysvm.agent.supervision import Daemon, Supervision, write_if_changed
from sysvm.wire.channel import ServiceSeen
from sysvm.wire.documents import RouterDocument
from sysvm.wire.redundancy import RedundantState

VRRP, SYNC = "keepalived", "conntrackd"
LOCK = "sysvm_backup"
_NOWHERE = ("blackhole", "default", "metric", "4294967295")
_PATIENCE_S, _PAUSE_S = 5.0, 0.02
_LOCKED = f"""add table inet {LOCK}
flush table inet {LOCK}
add chain inet {LOCK} asked {{ type filter hook input priority -5; policy accept; }}
add rule inet {LOCK} asked udp dport {{ 67, 547 }} drop
add chain inet {LOCK} said {{ type filter hook output priority -5; policy accept; }}
add rule inet {LOCK} said icmpv6 type nd-router-advert drop
"""


class Redundant:
    """The service."""

    name = "redundancy"

    def __init__(self, paths: Paths, supervision: Supervision) -> None:
        self._folder = paths.run / "redundancy"
        self._supervision = supervision
        self._pair: Pair | None = None

    def render(self, document: RouterDocument) -> Pair | None:
        """What this one of the pair is told. Raises Wrong."""
        return pairing.render(document)

    def apply(self, rendering: Pair | None) -> None:
        """Both daemons do what the files say; whoever serves goes on."""
        self._pair = rendering
        if rendering is None:
            self._end()
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        run("ip", "route", "replace", *_NOWHERE)
        self._lock(shut=not self._has_gateway(rendering))
        if self._supervision.pid(VRRP):
            self._go_on(rendering)
        else:
            self._begin(rendering)
        self._synchronize(rendering)
        end = time.monotonic() + _PATIENCE_S
        while self.difference(rendering) and time.monotonic() < end:
            time.sleep(_PAUSE_S)
        self._lock(shut=not self._has_gateway(rendering))

    def difference(self, rendering: Pair | None) -> str:
        """Files, processes, and that shared addresses are here all or none."""
        if rendering is None:
            return "keepalived is there" if self._folder.exists() or self._supervision.pid(VRRP) else ""
        if self._read("keepalived.conf") != pairing.keepalived(rendering, serves=False):
            return "the file keepalived.conf differs"
        if rendering.peer and self._read("conntrackd.conf") != pairing.conntrackd(rendering, self._folder):
            return "the file conntrackd.conf differs"
        for name in (VRRP, *([SYNC] if rendering.peer else [])):
            if not self._supervision.pid(name):
                return f"{name} does not run"
        if not _leads_nowhere():
            return "the route to nowhere is gone"
        return self._await_settled(rendering)

    def fingerprint(self) -> Hashable:
        """Processes, addresses, the times of the files."""
        times = [path.stat().st_mtime_ns for path in sorted(self._folder.glob("*.conf"))] if self._folder.exists() else []
        pids = self._supervision.pid(VRRP), self._supervision.pid(SYNC)
        return (*pids, netlink.addresses_and_routes() if self._pair is not None else "", *times)

    def daemons(self) -> tuple[ServiceSeen, ...]:
        """keepalived and conntrackd."""
        if self._pair is None:
            return ()
        names = (VRRP, SYNC) if self._pair.peer else (VRRP,)
        return tuple(self._supervision.seen(name) for name in names)

    def leave(self) -> None:
        """The other one serves from now on: keepalived tells it so at its end."""
        if self._pair is not None:
            self._supervision.stop(VRRP)

    def stop(self) -> None:
        """Ends both."""
        for name in (VRRP, SYNC):
            self._supervision.stop(name)

    def state(self) -> RedundantState | None:
        """Whether it serves now; the lock is as that says. None where there is no pair."""
        pair = self._pair
        if pair is None:
            return None
        serves = self._has_gateway(pair)
        with contextlib.suppress(CommandFailed, OSError):  # the next look comes in two seconds
            self._lock(shut=not serves)
        if serves:
            return RedundantState.PRIMARY
        return RedundantState.BACKUP if self._supervision.pid(VRRP) else RedundantState.FAULT

    def _end(self) -> None:
        """Nothing of a pair is left. The folder is made first and goes last: without it nothing is, and no program is asked."""
        if not self._folder.exists() and not self._supervision.pid(VRRP):
            return
        for name in (VRRP, SYNC):
            self._supervision.remove(name)
        self._lock(shut=False)
        if _leads_nowhere():
            run("ip", "route", "del", *_NOWHERE)
        shutil.rmtree(self._folder, ignore_errors=True)

    # ------------------------------------------------------------ keepalived
    def _begin(self, pair: Pair) -> None:
        if self._has_gateway(pair) and not (self._folder / "keepalived.conf").exists():
            self._take_over_from_itself(pair)
        self._write(pair, serves=False)
        before = self._supervision.pid(VRRP)
        self._supervision.ensure(self._keepalived())
        if before:
            self._supervision.hang_up(VRRP)

    def _take_over_from_itself(self, pair: Pair) -> None:
        """It was alone, and has the addresses without keepalived."""
        news = self._folder / "news"
        news.unlink(missing_ok=True)
        os.mkfifo(news)
        handle = os.open(news, os.O_RDWR | os.O_NONBLOCK)
        try:
            self._write(pair, serves=True)
            self._supervision.ensure(self._keepalived())
            said, end = b"", time.monotonic() + _PATIENCE_S
            while b" MASTER " not in said and time.monotonic() < end:
                with contextlib.suppress(BlockingIOError):
                    said += os.read(handle, 4096)
                time.sleep(_PAUSE_S)
        finally:
            os.close(handle)

    def _go_on(self, pair: Pair) -> None:
        if self._write(pair, serves=False):
            self._supervision.hang_up(VRRP)
        elif not self._is_settled(pair):
            self._supervision.restart(VRRP)  # somebody took addresses away: the other one has them meanwhile

    def _write(self, pair: Pair, *, serves: bool) -> bool:
        text = pairing.keepalived(pair, serves=serves)
        if serves:
            text = text.replace("global_defs {", f"global_defs {{\n  vrrp_notify_fifo {self._folder}/news", 1)
        return write_if_changed(self._folder / "keepalived.conf", text.encode())

    def _keepalived(self) -> Daemon:
        places = f"--use-file={self._folder}/keepalived.conf --pid={self._folder}/pid --vrrp_pid={self._folder}/vrrp.pid"
        # What a killed one has left would be taken for another one that runs.
        script = f"#!/bin/sh\nrm -f {self._folder}/pid {self._folder}/vrrp.pid\n"
        return Daemon(VRRP, f"{script}exec keepalived --dont-fork --log-console --no-syslog --vrrp {places}\n")

    # ------------------------------------------------------------ connections
    def _synchronize(self, pair: Pair) -> None:
        if not pair.peer:
            self._supervision.remove(SYNC)
            return
        text = pairing.conntrackd(pair, self._folder)
        changed = write_if_changed(self._folder / "conntrackd.conf", text.encode())
        before = self._supervision.pid(SYNC)
        lock = f"{self._folder}/conntrackd.lock {self._folder}/conntrackd.ctl"
        self._supervision.ensure(Daemon(SYNC, f"#!/bin/sh\nrm -f {lock}\nexec conntrackd -C {self._folder}/conntrackd.conf\n"))
        if changed and before:
            self._supervision.restart(SYNC)

    # ------------------------------------------------------------ the kernel
    def _has_gateway(self, pair: Pair) -> bool:
        return ip_interface(pair.gateway).ip.packed in netlink.own_addresses()

    def _is_settled(self, pair: Pair) -> bool:
        held = netlink.own_addresses()
        wanted = {ip_interface(text).ip.packed for text in (pair.gateway, *(text for text, _ in pair.shared))}
        return wanted <= held or not wanted & held

    def _await_settled(self, pair: Pair) -> str:
        """Empty when shared addresses are here all or none; they come and go one after the other."""
        end = time.monotonic() + _PATIENCE_S
        while not self._is_settled(pair):
            if time.monotonic() > end:
                return "some of the shared addresses are here, and some are not"
            time.sleep(_PAUSE_S)
        return ""

    def _lock(self, *, shut: bool) -> None:
        there = netlink.has_table(LOCK)
        if shut and not there:
            run("nft", "-f", "-", said=_LOCKED)
        if there and not shut:
            run("nft", "delete", "table", "inet", LOCK)

    def _read(self, name: str) -> str:
        try:
            return (self._folder / name).read_text()
        except FileNotFoundError:
            return ""


def _leads_nowhere() -> bool:
    return bool(run("ip", "route", "show", "type", "blackhole").strip())
