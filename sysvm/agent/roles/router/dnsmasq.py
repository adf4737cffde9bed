"""DHCP and DNS of a router's guest networks, by one dnsmasq.

Leases are a function of the document: every lease is a reservation, infinite, and none is kept on disk, so that a new
router answers an old lease with ACK (authoritative) and a re-used address is never "leased to" somebody before.
New guests and names: the files are written and dnsmasq reads them again (SIGHUP). Options, or a reservation that goes
away or changes: dnsmasq is started again, because it would remember the old lease. That it has really read the files is
asked by DNS (a name made from their digest), or, without DNS, known by a note of the signal that names its process.
No ping before an answer: addresses are unique by the database. Logs go to the machine's one bounded logger.
"""

import shutil
import socket
import time
from collections.abc import Hashable
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address

import msgspec

from sysvm.agent.paths import Paths
from sysvm.agent.roles.router import dnsmasq6
from sysvm.agent.roles.router.service import Wrong, address, device, hostname, mac, network
from sysvm.agent.supervision import Daemon, Supervision, write_if_changed
from sysvm.basics.digest import digest
from sysvm.wire.channel import ServiceSeen
from sysvm.wire.documents import DhcpNetwork, Dns, Reservation, RouterDocument

MARK_ZONE = "loaded.sysvm.invalid"
_PATIENCE_S = 10.0  # how long a daemon may take to read its files; where its address is not there, it never answers
_PAUSE = 0.02
MOST_HOSTS = 16384  # whose lines are kept: with each change thousands of hosts are as they were


class Files(msgspec.Struct, frozen=True):
    """What dnsmasq is made of; `probe` is an address at which it answers DNS, if it does."""

    options: str
    reservations: str
    names: str
    probe: str = ""

    @property
    def digest(self) -> str:
        """Names these files."""
        return digest((self.options, self.reservations, self.names))[:32]


def render(document: RouterDocument) -> Files | None:
    """The files, or None when the document wants neither DHCP nor DNS. Raises Wrong."""
    if not document.dhcp and document.dns is None:
        return None
    options = [
        *_common(),
        *_dns_options(document.dns),
        *(line for each in document.dhcp for line in _dhcp_options(each)),
        *(line for each in document.dhcp for line in dnsmasq6.options(each)),
    ]
    if document.dns is None:
        options.append("port=0")
    served = dict.fromkeys(device(each.device, "dhcp") for each in document.dhcp)
    options += [f"interface={name}" for name in served]
    reservations = "".join(f"{line}\n" for each in document.dhcp for line in _reservations(each))
    probe = document.dns.listen[0] if document.dns is not None and document.dns.listen else ""
    if probe and document.redundancy is not None:
        probe = address(document.redundancy.own, "redundancy")  # the gateway may be the other one's
    return Files("\n".join(options) + "\n", reservations, _names(document), probe)


def _common() -> tuple[str, ...]:
    return (
        "conf-file=", "no-resolv", "no-poll", "no-hosts", "bind-dynamic", "except-interface=lo", "log-facility=-",
        "user=nobody", "group=nogroup", "dhcp-authoritative", "no-ping", "leasefile-ro", "dhcp-ignore=tag:!known",
        "dhcp-lease-max=100000", "domain-needed", "bogus-priv", "local-ttl=0", "cache-size=2000", "dns-forward-max=1024",
        "edns-packet-max=1232",
    )  # fmt: skip


def _dns_options(dns: Dns | None) -> list[str]:
    if dns is None:
        return []
    domain = hostname(dns.domain, "dns") if dns.domain else ""
    lines = [f"listen-address={_ip(each, 'dns')}" for each in dns.listen]
    lines += [f"server={_ip(each, 'dns forwarder')}" for each in dns.forwarders]
    return lines + ([f"domain={domain}", f"local=/{domain}/"] if domain else [])


def _dhcp_options(each: DhcpNetwork) -> list[str]:
    name = device(each.device, "dhcp")
    where = f"dhcp on {name}"
    cidr = network(each.cidr, where)
    main, other = f"tag:{name},tag:!nodefault", f"tag:{name},tag:nodefault"
    servers = ",".join(address(server, where) for server in each.dns)
    if not 576 <= each.mtu <= 65535:
        raise Wrong(f"{where}: an MTU of {each.mtu} cannot be", "576 to 65535")
    lines = [
        f"dhcp-range=set:{name},{cidr.network_address},static,{cidr.netmask},infinite",
        f"dhcp-option={main},option:router,{address(each.gateway, where)}",
        f"dhcp-option={main},option:dns-server{',' + servers if servers else ''}",
        # An option without a value is not sent; left out, dnsmasq would name itself.
        f"dhcp-option={other},option:router",
        f"dhcp-option={other},option:dns-server",
        f"dhcp-option=tag:{name},option:mtu,{each.mtu}",
    ]
    if each.domain:
        lines.append(f"dhcp-option=tag:{name},option:domain-name,{hostname(each.domain, where)}")
    return lines


def _reservations(each: DhcpNetwork) -> list[str]:
    cidr = network(each.cidr, f"dhcp on {each.device}")
    cidr6 = dnsmasq6.prefix(each)
    lines, macs, addresses, sixes = [], set(), set(), set()
    for one in each.reservations:
        card, given, line = _reservation(one, cidr, cidr6)
        if card in macs or given in addresses or one.address6 in sixes:
            where = f"reservation of {one.hostname or one.mac}"
            raise Wrong(f"{where}: {card} or {given} is reserved twice", "remove one of the reservations")
        macs.add(card)
        addresses.add(given)
        if one.address6:
            sixes.add(one.address6)
        lines.append(line)
    return lines


@lru_cache(MOST_HOSTS)
def _reservation(one: Reservation, cidr: IPv4Network, cidr6: IPv6Network | None) -> tuple[str, str, str]:
    """MAC, address and line. Raises Wrong."""
    where = f"reservation of {one.hostname or one.mac}"
    card, given = mac(one.mac, where), address(one.address, where)
    if ip_address(given) not in cidr:
        raise Wrong(f"{where}: {given} is not in {cidr}", "give an address of the network")
    tag = "" if one.default else ",set:nodefault"
    name = f",{hostname(one.hostname, where)}" if one.hostname else ""
    return card, given, f"{card}{tag},{given}{dnsmasq6.reserved(one, cidr6, where)}{name},infinite"


def _names(document: RouterDocument) -> str:
    dns = document.dns
    if dns is None:
        return ""
    domain = hostname(dns.domain, "dns") if dns.domain else ""
    lines = []
    for record in dns.records:
        lines += [_name_line(each, record.name, domain) for each in record.addresses]
    for each in document.dhcp:
        own = hostname(each.domain, "dhcp") if each.domain else domain
        named = [one for one in each.reservations if one.hostname]
        lines += [_name_line(one.address, one.hostname, own) for one in named]
        lines += [_name_line(one.address6, one.hostname, own) for one in named if one.address6]
    if not any(record.name.partition(".")[0] == "data-server" for record in dns.records):
        lines += [_name_line(each, "data-server", domain) for each in dns.listen[:1]]
    return "".join(f"{line}\n" for line in dict.fromkeys(lines))


@lru_cache(MOST_HOSTS)
def _name_line(given: str, name: str, domain: str) -> str:
    short = hostname(name, "dns").removesuffix(f".{domain}")
    return f"{_ip(given, f'name {name}')} {short}.{domain} {short}" if domain else f"{_ip(given, name)} {short}"


def _ip(text: str, where: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        raise Wrong(f"{where}: {text!r} is no address", "give an IPv4 or IPv6 address") from None


class Dnsmasq:
    """The service."""

    name = "dnsmasq"

    def __init__(self, paths: Paths, supervision: Supervision) -> None:
        self._folder = paths.run / "dnsmasq"
        self._supervision = supervision

    def render(self, document: RouterDocument) -> Files | None:
        """The daemon's files. Raises Wrong."""
        return render(document)

    def stage(self, rendering: Files | None) -> None:
        """Files: when it takes over, the daemon only has to be started."""
        if rendering is not None:
            self._write(rendering)

    def apply(self, rendering: Files | None) -> None:
        """Files, then as little of a nudge as makes the daemon read them."""
        if rendering is None:
            self._supervision.remove(self.name)
            shutil.rmtree(self._folder, ignore_errors=True)
            return
        forgotten = set(self._read("reservations").splitlines()) - set(rendering.reservations.splitlines())
        changed = self._write(rendering)
        before = self._supervision.pid(self.name)
        self._supervision.ensure(Daemon(self.name, self._script()))
        now = self._supervision.pid(self.name)
        if before and before == now and self._read("loaded") != self._note(rendering):
            if changed or forgotten:
                self._supervision.restart(self.name)
            else:
                self._supervision.hang_up(self.name)
        self._await_loaded(rendering)

    def difference(self, rendering: Files | None) -> str:
        """Files on disk, the process, and what it says that it has read."""
        if rendering is None:
            return "dnsmasq runs" if self._supervision.pid(self.name) or self._folder.exists() else ""
        wanted = {
            "options": self._with_places(rendering.options),
            "reservations": rendering.reservations,
            "names": self._with_mark(rendering),
        }
        for name, text in wanted.items():
            if self._read(name) != text:
                return f"the file {name} differs"
        if not self._supervision.pid(self.name):
            return "dnsmasq does not run"
        if rendering.probe:
            return "" if asked(rendering.probe, self._mark(rendering)) else "dnsmasq does not answer with what it was given"
        return "" if self._read("loaded") == self._note(rendering) else "dnsmasq has not read its files again"

    def fingerprint(self) -> Hashable:
        """The process and the times of the files."""
        times = [path.stat().st_mtime_ns for path in sorted(self._folder.glob("*"))] if self._folder.exists() else []
        return self._supervision.pid(self.name), *times

    def daemons(self) -> tuple[ServiceSeen, ...]:
        """dnsmasq."""
        return (self._supervision.seen(self.name),) if self._folder.exists() else ()

    def stop(self) -> None:
        """Ends dnsmasq."""
        self._supervision.stop(self.name)

    def _await_loaded(self, rendering: Files) -> None:
        end = time.monotonic() + _PATIENCE_S
        while time.monotonic() < end:
            if self._supervision.pid(self.name):
                write_if_changed(self._folder / "loaded", self._note(rendering).encode())
                if not rendering.probe or asked(rendering.probe, self._mark(rendering)):
                    return
            time.sleep(_PAUSE)

    def _write(self, rendering: Files) -> bool:
        """True when options have changed."""
        self._folder.mkdir(parents=True, exist_ok=True)
        changed = write_if_changed(self._folder / "options", self._with_places(rendering.options).encode())
        write_if_changed(self._folder / "reservations", rendering.reservations.encode())
        write_if_changed(self._folder / "names", self._with_mark(rendering).encode())
        return changed

    def _with_places(self, options: str) -> str:
        return f"{options}dhcp-hostsfile={self._folder}/reservations\naddn-hosts={self._folder}/names\n"

    def _with_mark(self, rendering: Files) -> str:
        return f"{rendering.names}127.0.0.1 {self._mark(rendering)}\n"

    def _mark(self, rendering: Files) -> str:
        return f"{rendering.digest}.{MARK_ZONE}"

    def _note(self, rendering: Files) -> str:
        return f"{self._supervision.pid(self.name)} {rendering.digest}"

    def _script(self) -> str:
        return f"#!/bin/sh\nexec dnsmasq --keep-in-foreground --conf-file={self._folder}/options\n"

    def _read(self, name: str) -> str:
        try:
            return (self._folder / name).read_text()
        except FileNotFoundError:
            return ""


def asked(server: str, name: str) -> bool:
    """Whether the name server at `server` has an address for `name` now."""
    labels = b"".join(len(label).to_bytes(1, "big") + label for label in name.encode().split(b"."))
    question = b"\x53\x56\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00" + labels + b"\x00\x00\x01\x00\x01"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        handle.settimeout(0.5)
        try:
            handle.connect((server, 53))
            handle.send(question)
            answer = handle.recv(4096)
        except OSError:
            return False
    # Same id, no error, at least one answer.
    return answer[:2] == question[:2] and answer[3] & 0x0F == 0 and int.from_bytes(answer[6:8], "big") > 0
