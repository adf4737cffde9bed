"""A router's checks of itself: what it should be doing by its document, asked of kernel and daemons, with the evidence.

A check that cannot be made is neither good nor bad. What the document does not want is not checked. Blocking: callers are
on a thread of their own.
"""

import os
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from sysvm.agent.command import CommandFailed, finish
from sysvm.agent.paths import Paths
from sysvm.wire.channel import ServiceSeen
from sysvm.wire.documents import RouterDocument
from sysvm.wire.health import Checked, Checks, Health

BASIC, ADVANCED = Checks.BASIC, Checks.ADVANCED
DAEMONS = {"dnsmasq": "dhcp.service", "haproxy": "loadbalancing.service", "apache2": "webserver.service"}
LIVE = {"nftables": "iptables_check.py", "dnsmasq": "dhcp_check.py", "haproxy": "haproxy_check.py"}
_NAMES = 20  # that are asked for in one check
_ANSWER_S = 2.0
_GONE = ("FAILED", "INCOMPLETE")
_CGROUP = Path("/sys/fs/cgroup")


class Unknown(Exception):
    """A check that cannot be made, and why."""


class Looks(msgspec.Struct, frozen=True):
    """What the role knows: daemons, and by service how the kernel differs from the document (empty: it does not)."""

    daemons: tuple[ServiceSeen, ...]
    differences: dict[str, str]
    host_hears: bool


Check = tuple[str, Checks, Callable[[], tuple[bool, str]]]


class Usage(msgspec.Struct):
    """CPU time at the last look."""

    at: float = 0.0
    used: float = 0.0


def run(checks: Sequence[Check], now: float) -> tuple[Checked, ...]:
    """Their results."""
    return tuple(_made(name, kind, look, now) for name, kind, look in checks)


def _made(name: str, kind: Checks, look: Callable[[], tuple[bool, str]], now: float) -> Checked:
    try:
        good, details = look()
    except (Unknown, OSError, CommandFailed) as error:
        return Checked(name=name, kind=kind, good=None, details=str(error), at=now)
    return Checked(name=name, kind=kind, good=good, details=details, at=now)


def basic(
    document: RouterDocument, health: Health, looks: Callable[[], Looks], paths: Paths, cpu: Usage, now: float
) -> list[Check]:
    """The cheap ones."""
    found: list[Check] = [
        ("connectivity.test", BASIC, lambda: _connected(looks())),
        ("filesystem.writable.test", BASIC, lambda: _writable(paths.state)),
        ("disk_space_check.py", BASIC, lambda: _disk(paths.root, health.free_disk_mb)),
        ("memory_usage_check.py", BASIC, lambda: _memory(health.max_memory)),
        ("cpu_usage_check.py", BASIC, lambda: _cpu(cpu, now, health.max_cpu)),
    ]
    if gateways := _ways_out(document):
        found.append(("gateways_check.py", BASIC, lambda: _gateways(gateways)))
    for daemon in looks().daemons:
        name = DAEMONS.get(daemon.name, f"{daemon.name}.service")
        found.append((name, BASIC, lambda daemon=daemon: _daemon(daemon.name, looks())))  # type: ignore[misc]
    return _wanted(found, health)


def advanced(document: RouterDocument, health: Health, looks: Callable[[], Looks]) -> list[Check]:
    """Those that read back what is live."""
    names = [(record.name, record.addresses[0]) for record in (document.dns.records if document.dns else ())]
    found: list[Check] = [
        (LIVE[service], ADVANCED, lambda service=service: _live(service, looks()))  # type: ignore[misc]
        for service, is_wanted in (
            ("nftables", True),
            ("dnsmasq", bool(document.dhcp)),
            ("haproxy", document.balancing is not None and bool(document.balancing.rules)),
        )
        if is_wanted
    ]
    if document.dns is not None and names:
        server, domain = document.dns.listen[0], document.dns.domain
        found.append(("dns_check.py", ADVANCED, lambda: _names(server, domain, names)))
    return _wanted(found, health)


def _wanted(found: list[Check], health: Health) -> list[Check]:
    return [check for check in found if check[0] not in health.excluded]


# ---------------------------------------------------------------- what the role has seen
def _connected(looks: Looks) -> tuple[bool, str]:
    return looks.host_hears, "the host hears this agent" if looks.host_hears else "the host does not hear this agent"


def _daemon(name: str, looks: Looks) -> tuple[bool, str]:
    seen = next((each for each in looks.daemons if each.name == name), None)
    if seen is None:
        return True, f"{name} is not wanted any longer"
    words = f", started again {seen.restarts} times" if seen.restarts else ""
    return seen.running, f"{name} {'runs' if seen.running else 'does not run'}{words}"


def _live(service: str, looks: Looks) -> tuple[bool, str]:
    words = looks.differences.get(service, "")
    return not words, words or "what is live is what was configured"


# ---------------------------------------------------------------- the machine
def _writable(folder: Path) -> tuple[bool, str]:
    probe = folder / ".health"
    try:
        probe.write_text("x")
        probe.unlink()
    except OSError as error:
        return False, f"{folder} cannot be written: {error.strerror}"
    return True, f"{folder} can be written"


def _disk(root: Path, least_mb: int) -> tuple[bool, str]:
    left = os.statvfs(root)
    free = left.f_bavail * left.f_frsize // 1024**2
    return free >= least_mb, f"{free} MB are free, {least_mb} must be"


def _memory(most: float) -> tuple[bool, str]:
    used, there = _memory_numbers()
    share = 100 * used / there
    return share <= most, f"{share:.0f} % of {there // 1024**2} MB are used, {most:g} % may be"


def _memory_numbers() -> tuple[int, int]:
    limit = _CGROUP / "memory.max"
    if limit.exists() and (text := limit.read_text().strip()).isdecimal():
        return int((_CGROUP / "memory.current").read_text()) - _cache(), int(text)
    lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    numbers = {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines}
    return numbers["MemTotal"] - numbers["MemAvailable"], numbers["MemTotal"]


def _cache() -> int:
    """Files of the group that the kernel may drop."""
    lines = (line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
    return next((int(words[1]) for words in lines if words[0] == "file"), 0)


def _cpu(usage: Usage, now: float, most: float) -> tuple[bool, str]:
    stat = _CGROUP / "cpu.stat"
    if stat.exists():
        used = int(stat.read_text().split()[1]) / 1e6
    else:
        words = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
        used = (sum(words) - words[3] - words[4]) / os.sysconf("SC_CLK_TCK")
    before, usage.at, usage.used = (usage.at, usage.used), now, used
    if not before[0] or now - before[0] < 1.0:
        raise Unknown("the share of CPU is known after the next look")
    share = 100 * (used - before[1]) / (now - before[0]) / (os.cpu_count() or 1)
    return share <= most, f"{share:.0f} % of the CPUs are used, {most:g} % may be"


# ---------------------------------------------------------------- the network
def _ways_out(document: RouterDocument) -> list[tuple[str, str]]:
    return [(each.device, each.gateway) for each in document.interfaces if each.gateway]


def _gateways(gateways: list[tuple[str, str]]) -> tuple[bool, str]:
    lost = [f"{gateway} on {device}" for device, gateway in gateways if not _answers(device, gateway)]
    if lost:
        return False, f"no answer from {', '.join(lost)}"
    return True, f"{', '.join(gateway for _, gateway in gateways)} answer"


def _answers(device: str, gateway: str) -> bool:
    """Whether the neighbour is there; one that drops pings still answers who it is."""
    if finish("ping", "-c", "1", "-W", "1", "-I", device, gateway).code == 0:
        return True
    said = finish("ip", "neighbour", "show", gateway, "dev", device).out
    return bool(said.strip()) and not any(word in said for word in _GONE)


def _names(server: str, domain: str, names: list[tuple[str, str]]) -> tuple[bool, str]:
    asked = names[:: -(-len(names) // _NAMES)]  # some of many, over the whole list
    wrong = [f"{name} ({found or 'no answer'})" for name, address, found in _told(server, domain, asked) if found != address]
    if wrong:
        return False, f"{server} answers wrongly for {', '.join(wrong[:3])}"
    return True, f"{server} knows {len(asked)} of {len(names)} names that were asked for"


def _told(server: str, domain: str, names: list[tuple[str, str]]) -> Iterator[tuple[str, str, str]]:
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as handle:
        handle.settimeout(_ANSWER_S)
        handle.connect((server, 53))
        for number, (name, address) in enumerate(names, 1):
            found = _address_of(handle, number, f"{name}.{domain}", address)
            yield name, address, found
            if not found:
                return  # who does not answer this need not be waited for again


def _address_of(handle: socket.socket, number: int, name: str, like: str) -> str:
    family, kind = (socket.AF_INET6, 28) if ":" in like else (socket.AF_INET, 1)
    labels = b"".join(bytes((len(label),)) + label.encode() for label in name.split("."))
    question = labels + b"\0" + struct.pack("!HH", kind, 1)
    handle.send(struct.pack("!6H", number, 0x0100, 1, 0, 0, 0) + question)
    try:
        while (answer := handle.recv(4096))[:2] != number.to_bytes(2, "big"):
            pass
    except OSError:
        return ""
    length = 16 if kind == 28 else 4
    has_answer = int.from_bytes(answer[6:8], "big") > 0
    return socket.inet_ntop(family, answer[-length:]) if has_answer else ""
