"""IPsec by strongSwan's charon: remote access, where a user logs in by IKEv2 and EAP-MSCHAPv2, and tunnels to other sites.

ESP is the kernel's where it can do ESP and IPsec interfaces (a VM's can), else charon's own (kernel-libipsec); which one
it is, is the note of the daemon. Either way packets come out of the interface `ipsec0`, so that rules and routes are the
same; and ESP always travels inside UDP, so that two ports are all that is opened.

What charon has loaded is asked over its socket and compared by name: names of connections, pools and keys carry a digest
of what they are. A new or a lost user or tunnel disturbs nobody else; a user who is gone, or has another password, is cut
off at once. Users may speak L2TP, too, where the kernel does ESP and PPP (l2tp.py); the note says which ways there are.

Races: charon may die between a question and the next. s6 starts it again and it knows nothing; the router's watch sees
that within two seconds and tells it again.
"""

import contextlib
import shutil
import socket
import time
from collections.abc import Hashable, Mapping

import msgspec

from sysvm.agent import netlink
from sysvm.agent.command import CommandFailed, finish, run
from sysvm.agent.paths import Paths
from sysvm.agent.roles.router import ipsec_access, ipsec_tunnels, l2tp
from sysvm.agent.roles.router.ipsec_access import IF_ID, LOGINS, Access
from sysvm.agent.roles.router.ipsec_initiating import Initiating
from sysvm.agent.roles.router.ipsec_tunnels import Site
from sysvm.agent.roles.router.ipsec_vici import Charon, Message, NoAnswer
from sysvm.agent.roles.router.service import need_tun
from sysvm.agent.supervision import Daemon, Supervision, write_if_changed
from sysvm.basics.log import get_logger
from sysvm.wire.channel import ServiceSeen
from sysvm.wire.documents import RouterDocument
from sysvm.wire.vpn import TunnelSeen

DEVICE = "ipsec0"
MTU = 1400
_METRIC = "100"  # of our routes: kernel-libipsec adds and removes one of its own while a tunnel stands, in front of ours
_PATIENCE_S, _PAUSE = 10.0, 0.02  # a start on a busy host, where an emulated one takes seconds anyway
_PLUGINS = (
    "random nonce aes sha1 sha2 md5 hmac gcm kdf openssl pem x509 pkcs1 pubkey socket-default vici eap-identity eap-mschapv2"
)
_NOBODY = "(unnamed)"  # somebody who has not said yet who it is
# Who gives no answer is given up after 26 s instead of 165 s.
_RETRANSMIT = "    retransmit_tries = 4\n    retransmit_timeout = 2.0\n    retransmit_base = 1.5\n"
log = get_logger()


class Wanted(msgspec.Struct, frozen=True):
    """What charon has to know."""

    access: Access | None
    sites: tuple[Site, ...] = ()

    def pools(self) -> dict[str, Message]:
        """Clients' addresses, by name."""
        return self.access.pools() if self.access is not None else {}

    def keys(self) -> dict[str, Message]:
        """Secrets, by name."""
        found = self.access.keys() if self.access is not None else {}
        for site in self.sites:
            found |= site.keys()
        return found

    def connections(self, *, kernel: bool) -> dict[str, Message]:
        """Logins and tunnels, by name."""
        found = self.access.connections(kernel=kernel) if self.access is not None else {}
        return found | dict(site.connection(kernel=kernel) for site in self.sites)

    def routes(self) -> frozenset[str]:
        """What lies behind the interface, as `ip` says it."""
        far = frozenset(text.removesuffix("/32") for site in self.sites for text in site.remote_networks)
        return far | (self.access.routes() if self.access is not None else frozenset())


def render(document: RouterDocument) -> Wanted | None:
    """Who may come in, and whom to speak to; None: nobody, ever. Raises Wrong."""
    access, sites = ipsec_access.render(document), ipsec_tunnels.render(document)
    return Wanted(access, sites) if access is not None or sites else None


class Ipsec:
    """The service."""

    name = "ipsec"

    def __init__(self, paths: Paths, supervision: Supervision) -> None:
        self._folder = paths.run / self.name
        self._socket = self._folder / "charon.vici"
        self._settings = self._folder / "strongswan.conf"
        self._supervision = supervision
        self._devices = paths.devices
        self._kernel = False
        self._l2tp = l2tp.L2tp(paths, supervision)
        self._has_l2tp, self._users = False, ""
        self._initiating = Initiating(lambda: Charon(self._socket))

    def render(self, document: RouterDocument) -> Wanted | None:
        """Who may come in, and whom to speak to. Raises Wrong."""
        return render(document)

    def apply(self, rendering: Wanted | None) -> None:
        """Charon knows exactly these users and tunnels. Raises CommandFailed or OSError."""
        if rendering is None:
            self._remove()
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        self._folder.chmod(0o700)
        self._kernel = _kernel_does_esp()
        if not self._kernel and not _is_there():
            need_tun("charon")
        rendering = self._known_ways(rendering)
        write_if_changed(self._settings, self._text().encode(), 0o600)
        self._supervision.ensure(Daemon(self.name, self._script()))
        with self._charon() as charon:
            _load(charon, rendering, kernel=self._kernel)
        _route(rendering)
        self._l2tp.apply(_lns(rendering))
        self._initiating.want(rendering.sites, kernel=self._kernel)
        self._initiating.tend()

    def difference(self, rendering: Wanted | None) -> str:
        """The process and what it has loaded; the interface and its routes."""
        if rendering is None:
            return "charon runs" if self._supervision.pid(self.name) or self._folder.exists() else ""
        if not self._settings.exists() or self._settings.read_text() != self._text():
            return "the file strongswan.conf differs"
        if not self._supervision.pid(self.name):
            return "charon does not run"
        rendering = self._ways(rendering)
        try:
            with Charon(self._socket) as charon:
                words = _differing(charon, rendering, kernel=self._kernel)
        except NoAnswer as error:
            return str(error)
        if words:
            return words
        if not _is_there():
            return f"the interface {DEVICE} is missing"
        if _routes() != rendering.routes():
            return f"the routes by {DEVICE} are not those of clients and sites"
        return self._l2tp.difference(_lns(rendering))

    def fingerprint(self) -> Hashable:
        """The process, what it has loaded, and the kernel's routes."""
        pid = self._supervision.pid(self.name)
        if not self._folder.exists():
            return pid
        written = self._settings.stat().st_mtime_ns if self._settings.exists() else 0
        users = self._l2tp.fingerprint()
        return pid, written, self._loaded(), _is_there(), netlink.addresses_and_routes(), users

    def daemons(self) -> tuple[ServiceSeen, ...]:
        """Charon, with a note about who does ESP and how users come in; xl2tpd beside it."""
        if not self._folder.exists():
            return ()
        note = "ESP by the kernel" if self._kernel else "ESP by kernel-libipsec"
        charon = msgspec.structs.replace(self._supervision.seen(self.name), note=f"{note}{self._users}")
        return (charon, *self._l2tp.daemons())

    def show(self, rendering: Wanted | None) -> None:
        """Other sites can be reached from now on: tunnels are begun at once."""
        del rendering
        self._initiating.again()
        self._initiating.tend()

    def tend(self) -> tuple[TunnelSeen, ...]:
        """Begins what is not connected; says how the tunnels are."""
        return self._initiating.tend()

    def stop(self) -> None:
        """Clients and other sites are told that it is over."""
        self._l2tp.stop()
        self._initiating.want((), kernel=self._kernel)
        self._supervision.stop(self.name)

    # ------------------------------------------------------------ parts
    def _known_ways(self, wanted: Wanted) -> Wanted:
        """Asks the kernel whether users can speak L2TP, and notes what came of it."""
        access = wanted.access
        if access is None:
            self._has_l2tp, self._users = False, ""
            return wanted
        if not self._kernel:
            why = "no ESP in this kernel"
        elif access.first == access.last:
            why = "the range holds one address"
        else:
            why = l2tp.kernel_lacks(self._devices)
        self._users = f"; users by IKEv2 only ({why})" if why else "; users by L2TP and IKEv2"
        self._has_l2tp = not why
        return self._ways(wanted)

    def _ways(self, wanted: Wanted) -> Wanted:
        access = wanted.access
        if access is None or not self._has_l2tp:
            return wanted
        return msgspec.structs.replace(wanted, access=msgspec.structs.replace(access, l2tp=True))

    def _remove(self) -> None:
        self._l2tp.apply(None)
        self._initiating.want((), kernel=self._kernel)
        self._supervision.remove(self.name)
        shutil.rmtree(self._folder, ignore_errors=True)
        if _is_there():
            run("ip", "link", "del", DEVICE)

    def _text(self) -> str:
        kernel = "kernel-netlink" if self._kernel else "kernel-libipsec kernel-netlink"
        return (
            "charon-systemd {\n"
            f"    load = {_PLUGINS} {kernel}\n"
            "    install_routes = no\n"
            "    routing_table = 0\n"
            f"{_RETRANSMIT}"
            f"    plugins {{\n        vici {{\n            socket = unix://{self._socket}\n        }}\n    }}\n"
            "    journal {\n        default = -1\n    }\n"
            "    filelog {\n        stderr {\n            default = 0\n            ike = 1\n        }\n    }\n"
            "}\n"
        )

    def _script(self) -> str:
        return f"#!/bin/sh\nexec 2>&1\nexport STRONGSWAN_CONF={self._settings}\nexec charon-systemd\n"

    def _charon(self) -> Charon:
        """A conversation with charon, which may just have been started. Raises NoAnswer."""
        end = time.monotonic() + _PATIENCE_S
        while time.monotonic() < end:
            with contextlib.suppress(NoAnswer):
                return Charon(self._socket)
            time.sleep(_PAUSE)
        return Charon(self._socket)

    def _loaded(self) -> Hashable:
        try:
            with Charon(self._socket) as charon:
                return tuple(charon.ask("get-shared")["keys"]), tuple(charon.ask("get-conns")["conns"])
        except NoAnswer:
            return None


def _lns(wanted: Wanted) -> l2tp.Lns | None:
    return l2tp.render(wanted.access) if wanted.access is not None and wanted.access.l2tp else None


# ---------------------------------------------------------------- what charon has loaded
def _load(charon: Charon, wanted: Wanted, *, kernel: bool) -> None:
    """What is missing first, then what is too much, and the logins and tunnels that were made by it."""
    keys, pools, connections = wanted.keys(), wanted.pools(), wanted.connections(kernel=kernel)
    old_keys, old_pools, old_connections = _held(charon)
    for name in keys.keys() - old_keys:
        charon.ask("load-shared", keys[name])
    for name in pools.keys() - old_pools:
        charon.ask("load-pool", {name: pools[name]})
    for name in connections.keys() - old_connections:
        charon.ask("load-conn", {name: connections[name]})
    for name in old_connections - connections.keys():
        charon.ask("unload-conn", {"name": name})
    for name in old_keys - keys.keys():
        charon.ask("unload-shared", {"id": name})
    lost = {name.split("-", 2)[2].lower() for name in old_keys - keys.keys() if name.startswith("user-")}
    _cut_off(charon, connections, lost)
    for name in old_pools - pools.keys():
        charon.ask("unload-pool", {"name": name})


def _held(charon: Charon) -> tuple[set[str], set[str], set[str]]:
    keys, connections = charon.ask("get-shared").get("keys", ()), charon.ask("get-conns").get("conns", ())
    return set(keys), set(charon.ask("get-pools")), set(connections)


def _cut_off(charon: Charon, connections: Mapping[str, Message], lost: set[str]) -> None:
    """Ends what connections that are no more have made, and logins of users who are no more. Raises NoAnswer when one stays."""
    for number, user in _unwelcome(charon, connections, lost):
        # By force: charon says it once to the client and does not wait, for who gives no answer would stay in.
        with contextlib.suppress(NoAnswer):  # it may just have ended by itself
            charon.ask("terminate", {"ike-id": number, "force": "yes"})
        log.info("vpn_cut_off", who=user)
    if left := _unwelcome(charon, connections, lost):
        raise NoAnswer(f"charon does not end what it has with {left[0][1]}")


def _unwelcome(charon: Charon, connections: Mapping[str, Message], lost: set[str]) -> list[tuple[str, str]]:
    """Numbers and users (or other sites) of what has to end."""
    found = []
    for key, login in charon.listed("list-sas", "list-sa").items():
        user = login.get("remote-eap-id", login.get("remote-id", ""))
        name = key.split(" ")[0]
        if name == _NOBODY:
            continue
        if name not in connections or (name.startswith(LOGINS) and user.lower() in lost):
            found.append((login["uniqueid"], user))
    return found


def _differing(charon: Charon, wanted: Wanted, *, kernel: bool) -> str:
    expected = (wanted.keys(), wanted.pools(), wanted.connections(kernel=kernel))
    for what, there, names in zip(("keys", "pools", "connections"), _held(charon), expected, strict=True):
        if there != names.keys():
            return f"charon has other {what}"
    return ""


# ---------------------------------------------------------------- the kernel
def _kernel_does_esp() -> bool:
    """Whether there can be an IPsec interface and ESP; it is made when it is not there. Raises CommandFailed."""
    if _is_there():
        return finish("ip", "-d", "link", "show", "dev", DEVICE, "type", "xfrm").out.strip() != ""
    if finish("ip", "link", "add", DEVICE, "type", "xfrm", "dev", "lo", "if_id", IF_ID).code != 0:
        return False
    state = ("src", "127.0.0.1", "dst", "127.0.0.1", "proto", "esp", "spi", "0x53595356")
    key = ("mode", "tunnel", "enc", "cbc(aes)", f"0x{'00' * 16}", "auth", "hmac(sha256)", f"0x{'00' * 32}")
    can = finish("ip", "xfrm", "state", "add", *state, *key).code == 0
    if can:
        finish("ip", "xfrm", "state", "delete", *state)
    else:
        run("ip", "link", "del", DEVICE)
    return can


def _is_there() -> bool:
    return any(name == DEVICE for _, name in socket.if_nameindex())


def _routes() -> frozenset[str]:
    done = finish("ip", "-4", "-j", "route", "show", "dev", DEVICE)
    listed: list[dict[str, object]] = msgspec.json.decode(done.out.strip() or "[]")
    return frozenset(str(route["dst"]) for route in listed if str(route.get("metric")) == _METRIC)


def _route(wanted: Wanted) -> None:
    """The interface is up, and the way to clients and other sites, to nobody else."""
    if not _is_there():
        raise CommandFailed("charon", f"made no interface {DEVICE}")
    there = _routes()
    lines = [f"link set dev {DEVICE} mtu {MTU} up"]
    lines += [f"route del {text} dev {DEVICE} metric {_METRIC}" for text in sorted(there - wanted.routes())]
    lines += [f"route replace {text} dev {DEVICE} metric {_METRIC}" for text in sorted(wanted.routes() - there)]
    run("ip", "-batch", "-", said="\n".join(lines) + "\n")
