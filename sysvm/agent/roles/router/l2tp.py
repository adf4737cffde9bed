"""L2TP: users who log in as CloudStack's do, by PPP inside L2TP inside IPsec. xl2tpd takes calls, a pppd serves each.

A part of the VPN service (ipsec.py), which has charon protect the port in transport mode. It needs ESP and PPP in the kernel,
so that a VM serves it and a container does not; `kernel_lacks` says what is missing. Packets are the kernel's business
(PPP over L2TP), and none for port 1701 comes in or goes out without IPsec: a table of its own sees to that, because the
router's own table is the same in machines whose kernel could not read these rules.

Clients of L2TP have the upper half of the range of addresses, those of IKEv2 the lower one: neither asks the other.

Races: a user may log in while being removed. `admitted` is written when who had to go is gone, and a session that nobody
may have is a difference, so the router's watch cuts it off two seconds later. A killed xl2tpd takes its sessions with it.
"""

import contextlib
import os
import shutil
import signal
import socket
import time
from collections.abc import Hashable
from ipaddress import IPv4Address
from pathlib import Path

import msgspec

from sysvm.agent import netlink
from sysvm.agent.command import CommandFailed, finish, run
from sysvm.agent.paths import Paths
from sysvm.agent.roles.router.ipsec_access import Access
from sysvm.agent.supervision import Daemon, Supervision, write_if_changed
from sysvm.basics.digest import digest
from sysvm.basics.log import get_logger
from sysvm.wire.channel import ServiceSeen
from sysvm.wire.vpn import VpnUser

DEVICES = "ppp*"  # interfaces of clients, as nft says it
PORT = 1701
TABLE = "inet sysvm_l2tp"
NAME = "xl2tpd"
MTU = 1280  # what is left of 1450 by ESP in UDP, UDP, L2TP and PPP is more
_AF_PPPOX, _PX_PROTO_OL2TP = 24, 1
_ATTEMPTS, _PAUSE = 250, 0.02
_RULES = f"""add table {TABLE}
delete table {TABLE}
table {TABLE} {{
    chain coming {{
        type filter hook prerouting priority -150; policy accept;
        iifname "{DEVICES}" fib saddr . iif oif missing drop
    }}
    chain in {{
        type filter hook input priority -10; policy accept;
        udp dport {PORT} meta ipsec missing drop
    }}
    chain out {{
        type filter hook output priority -10; policy accept;
        udp sport {PORT} rt ipsec missing drop
    }}
}}
"""
_UP = '#!/bin/sh\necho "$PPPD_PID $PEERNAME" > "{folder}/new-$IFNAME" && mv "{folder}/new-$IFNAME" "{folder}/$IFNAME"\n'
_DOWN = '#!/bin/sh\nrm -f "{folder}/$IFNAME"\n'
log = get_logger()


class Lns(msgspec.Struct, frozen=True):
    """What xl2tpd and pppd have to know."""

    public: str
    preshared_key: str
    first: str
    last: str
    local: str
    dns: tuple[str, ...]
    users: tuple[VpnUser, ...]

    def server(self, folder: Path) -> str:
        """xl2tpd's configuration; another preshared key is another text, because sessions end with it."""
        return (
            f"; {digest(self.preshared_key)[:16]}\n"
            f"[global]\nlisten-addr = {self.public}\nport = {PORT}\naccess control = no\n\n"
            f"[lns default]\nip range = {self.first}-{self.last}\nlocal ip = {self.local}\n"
            "require chap = yes\nrefuse pap = yes\nrequire authentication = yes\nname = router\nlength bit = yes\n"
            f"pppoptfile = {folder / 'options'}\n"
        )

    def options(self, folder: Path) -> str:
        """pppd's: no protocol that shows a password, names of the guests' name server, and who notes sessions."""
        words = ["auth", "require-mschap-v2", "nodefaultroute", "noipv6", "noccp", "novj", f"mtu {MTU}", f"mru {MTU}"]
        words += ["lcp-echo-interval 15", "lcp-echo-failure 4", "logfd 2"]
        words += [f"ms-dns {each}" for each in self.dns]
        words += [f"ip-up-script {folder / 'up'}", f"ip-down-script {folder / 'down'}"]
        return "".join(f"{each}\n" for each in words)

    def secrets(self) -> str:
        """chap-secrets: a line for each user, who may come from anywhere."""
        return "".join(f"{quoted(user.name)} * {quoted(user.password)} *\n" for user in self.users)


def quoted(text: str) -> str:
    """A word of pppd's files: whatever printable characters are in it, it is one word."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def render(access: Access) -> Lns:
    """What is served to L2TP clients of this VPN. The server's address is the one before the clients' first, as in CloudStack."""
    return Lns(
        public=access.public,
        preshared_key=access.preshared_key,
        first=str(access.middle + 1),
        last=access.last,
        local=str(IPv4Address(access.first) - 1),
        dns=access.dns,
        users=access.users,
    )


def kernel_lacks(devices: Path) -> str:
    """What this machine's kernel cannot do of PPP over L2TP, in words; modules are loaded where that is allowed."""
    with contextlib.suppress(CommandFailed):
        finish("modprobe", "-q", "-a", "l2tp_ppp", "l2tp_netlink")
    try:
        os.close(os.open(devices / "ppp", os.O_RDWR))
        socket.socket(_AF_PPPOX, socket.SOCK_DGRAM, _PX_PROTO_OL2TP).close()
    except OSError:
        return "no PPP here"
    return ""


def may_stay(name: str, admitted: str, lns: Lns) -> bool:
    """Whether a user who is in may be in. `admitted` are the secrets with which whoever is in may have come."""
    wanted = set(lns.secrets().splitlines())
    came_by = {line for line in admitted.splitlines() if line.startswith(f"{quoted(name)} ")}
    return came_by <= wanted and name in {user.name for user in lns.users}


class L2tp:
    """The part of the service. What it is given is None when nobody is served by L2TP."""

    def __init__(self, paths: Paths, supervision: Supervision) -> None:
        self._folder = paths.run / "l2tp"
        self._sessions = self._folder / "sessions"
        self._secrets = paths.root / "etc/ppp/chap-secrets"
        self._admitted = self._folder / "admitted"
        self._supervision = supervision
        self._table = ""

    def apply(self, lns: Lns | None) -> None:
        """Exactly these users may come, and nobody else is in. Raises CommandFailed or OSError."""
        if lns is None:
            self._remove()
            return
        self._sessions.mkdir(parents=True, exist_ok=True)
        self._folder.chmod(0o700)
        for path, text, mode in self._files(lns):
            write_if_changed(path, text.encode(), mode)
        if not self._table or self._listed() != self._table:
            run("nft", "-f", "-", said=_RULES)
            self._table = self._listed()
        self._supervision.ensure(Daemon(NAME, self._script(lns)))
        self._cut_off(lns)
        write_if_changed(self._admitted, lns.secrets().encode(), 0o600)

    def difference(self, lns: Lns | None) -> str:
        """Files, rules, the process, and who is in."""
        if lns is None:
            return "xl2tpd runs" if self._supervision.pid(NAME) or self._folder.exists() else ""
        wanted = (*self._files(lns), (self._admitted, lns.secrets(), 0o600))
        if other := [path.name for path, text, _ in wanted if not path.exists() or path.read_text() != text]:
            return f"the file {other[0]} differs"
        if self._listed() != self._table:
            return f"the table {TABLE} differs"
        if not self._supervision.pid(NAME):
            return "xl2tpd does not run"
        return "somebody is in who may not be" if self._unwelcome(lns) else ""

    def fingerprint(self) -> Hashable:
        """The process, the files, the rulesets' generation and who is in."""
        if not self._folder.exists():
            return None
        times = [path.stat().st_mtime_ns for path in (self._secrets, self._admitted) if path.exists()]
        return self._supervision.pid(NAME), tuple(times), netlink.ruleset_generation(), self._seen()

    def daemons(self) -> tuple[ServiceSeen, ...]:
        """xl2tpd, while it is wanted."""
        return (self._supervision.seen(NAME),) if self._folder.exists() else ()

    def stop(self) -> None:
        """Clients are told that it is over."""
        self._supervision.stop(NAME)

    # ------------------------------------------------------------ parts
    def _files(self, lns: Lns) -> tuple[tuple[Path, str, int], ...]:
        return (
            (self._secrets, lns.secrets(), 0o600),
            (self._folder / "xl2tpd.conf", lns.server(self._folder), 0o600),
            (self._folder / "options", lns.options(self._folder), 0o600),
            (self._folder / "up", _UP.format(folder=self._sessions), 0o700),
            (self._folder / "down", _DOWN.format(folder=self._sessions), 0o700),
        )

    def _script(self, lns: Lns) -> str:
        """xl2tpd reads its configuration once: another one is another script, for which it is started again."""
        words = f"-D -c {self._folder}/xl2tpd.conf -p {self._folder}/pid -C {self._folder}/control"
        made_of = digest((lns.server(self._folder), lns.options(self._folder)))[:16]
        return f"#!/bin/sh\n# {made_of}\nexec 2>&1\nrm -f {self._sessions}/*\nexec xl2tpd {words}\n"

    def _remove(self) -> None:
        self._supervision.remove(NAME)
        if not self._folder.exists():
            return
        finish("nft", "delete", "table", *TABLE.split())
        self._table = ""
        self._secrets.unlink(missing_ok=True)
        shutil.rmtree(self._folder)

    def _listed(self) -> str:
        return finish("nft", "-nn", "list", "table", *TABLE.split()).out

    # ------------------------------------------------------------ who is in
    def _seen(self) -> frozenset[tuple[int, str]]:
        """Processes and users of living sessions."""
        found = set()
        for path in self._sessions.glob("ppp*"):
            with contextlib.suppress(OSError, ValueError):
                number, name = path.read_text().strip().split(" ", 1)
                if Path(f"/proc/{number}/comm").read_text() == "pppd\n":
                    found.add((int(number), name))
        return frozenset(found)

    def _unwelcome(self, lns: Lns) -> list[tuple[int, str]]:
        """Who is in and may not be, or came in with a password that is not valid any more."""
        admitted = self._admitted.read_text() if self._admitted.exists() else ""
        return [(number, name) for number, name in self._seen() if not may_stay(name, admitted, lns)]

    def _cut_off(self, lns: Lns) -> None:
        """Raises CommandFailed when one stays."""
        for number, name in self._unwelcome(lns):
            _end(number)
            log.info("vpn_cut_off", who=name)
        if left := self._unwelcome(lns):
            raise CommandFailed("pppd", f"does not end what it has with {left[0][1]}")


def _end(number: int) -> None:
    """The pppd ends: it tells its client first, if that still answers."""
    for word in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, word)
        for _ in range(_ATTEMPTS):
            if not Path(f"/proc/{number}").exists():
                return
            time.sleep(_PAUSE)
