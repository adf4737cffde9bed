"""router.boot_2000_hosts_s, dhcp.changes_per_s, nat.gbit_per_core, drift.repair_s, router.rss_mb: one router's agent with
its real daemons and ruleset, in namespaces of its own; guests and the outside are namespaces, too.

What a packet costs is told by the CPU of those who send and receive: in veth pairs the kernel forwards in the sender's time.
"""

import contextlib
import ipaddress
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bench import dhcp
from bench.measure import alternating, median, pss_mb
from bench.rows import Row, row
from sysvm.wire.balancing import Algorithm, Balancing, LoadBalancer
from sysvm.wire.channel import DriftReport
from sysvm.wire.documents import (
    DhcpNetwork,
    Egress,
    GuestData,
    Interface,
    Metadata,
    Reservation,
    RouterDocument,
    SourceNat,
)
from tests.agent import documents as d
from tests.agent.lab import ROUTER_GUEST_MAC, Lab

NAMES = ("router.boot_2000_hosts_s", "dhcp.changes_per_s", "nat.gbit_per_core", "drift.repair_s", "router.rss_mb")
NEEDS = ("root", "nft", "s6-svscan", "dnsmasq", "apache2", "haproxy", "conntrack")
NETWORK = ipaddress.ip_network("10.1.0.0/20")
GATEWAY = "10.1.0.1"
PATIENCE_S = 60.0
ARRIVAL_S = 0.002  # between two deployed guests
KEYS = ("availability-zone", "cloud-identifier", "instance-id", "local-hostname", "local-ipv4", "public-hostname",
        "public-ipv4", "public-keys", "service-offering", "vm-id")  # fmt: skip
SINK = """
import resource, socket, sys
door = socket.create_server(("0.0.0.0", 5001)); print(flush=True)
connection, _ = door.accept(); room = bytearray(1 << 20); count = 0
while part := connection.recv_into(room): count += part
used = resource.getrusage(resource.RUSAGE_SELF); print(count, used.ru_utime + used.ru_stime)
"""
SOURCE = """
import resource, socket, sys
connection = socket.create_connection((sys.argv[1], 5001)); piece = bytes(1 << 20)
before = resource.getrusage(resource.RUSAGE_SELF)
for _ in range(int(sys.argv[2])): connection.sendall(piece)
connection.close(); after = resource.getrusage(resource.RUSAGE_SELF)
print(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
"""


def run(*, tiny: bool) -> Iterator[Row]:
    """All rows."""
    hosts, rules, changes, megabytes, times = (50, 20, 5, 20, 1) if tiny else (2000, 1000, 200, 1500, 5)
    booted = median([_boot(hosts, rules) for _ in range(1 if tiny else 3)])
    note = f"from the start of the agent to a lease and the metadata of the last of {hosts:,} guests, with {rules:,} rules"
    yield row(NAMES[0], booted, "s", note=note)
    with _lab() as lab:
        note = f"a guest each {ARRIVAL_S * 1e3:g} ms, {changes} to a network of {changes}; a document has all that have come"
        yield row(NAMES[1], changes / _changes(lab, changes), "/s", better="higher", note=note)
    with _lab() as lab, _plain() as plain:
        lab.apply(_document(20, rules))
        for each in (lab, plain):
            each.guest_address(f"{_address(0)}/20")
            each.out(each.guest, "ip", "route", "replace", "default", "via", GATEWAY)
        ours, floor = alternating(times, lambda: _gbit(lab, megabytes), lambda: _gbit(plain, megabytes))
        note = f"TCP from a guest through source NAT with {rules:,} rules; per second of CPU of both ends, which forward as well"
        against = ("the kernel forwards between namespaces, no rules", floor)
        yield row(NAMES[2], ours, "Gbit/s", better="higher", against=against, note=note)
        repaired = [_repair(lab) for _ in range(times)]
        yield row(NAMES[3], median(repaired), "s", note="a forward deleted with nft until it is there again")
        report = lab.apply(_everything())
        if report.faults:
            raise RuntimeError(report.faults[0].why)
        yield row(
            NAMES[4],
            _memory(lab),
            "MB",
            note="agent, s6 and all daemons; shared pages by share",
        )


# ---------------------------------------------------------------- the ground
@contextlib.contextmanager
def _lab() -> Iterator[Lab]:
    """A router whose agent runs and has no document yet."""
    lab = Lab(Path("/dev/shm"))
    try:
        lab.build()
        lab.start_agent()
        yield lab
    finally:
        lab.remove()


@contextlib.contextmanager
def _plain() -> Iterator[Lab]:
    """The same namespaces, which forward and do nothing else."""
    lab = Lab()
    try:
        lab.build()
        for device, address in (("eth0", f"{GATEWAY}/20"), ("eth2", f"{d.PUBLIC}/24")):
            lab.out(lab.router, "ip", "address", "add", address, "dev", device)
            lab.out(lab.router, "ip", "link", "set", device, "up")
        lab.out(lab.router, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        lab.out(lab.outside, "ip", "route", "add", str(NETWORK), "via", d.PUBLIC)
        yield lab
    finally:
        lab.remove()


def _address(number: int) -> str:
    return str(NETWORK[number + 10])


def _mac(number: int) -> str:
    return f"02:00:0a:00:{number >> 8:02x}:{number & 255:02x}"


def _document(hosts: int, rules: int) -> RouterDocument:
    """A router of a network of 4,096 addresses."""
    guest = Interface(device="eth0", mac=ROUTER_GUEST_MAC, role="guest", addresses=(f"{GATEWAY}/20",))
    held = tuple(Reservation(mac=_mac(at), address=_address(at), hostname=f"g{at}") for at in range(hosts))
    network = DhcpNetwork(
        device="eth0", cidr=str(NETWORK), gateway=GATEWAY, dns=(GATEWAY,), domain="bench.internal", mtu=1500,
        reservations=held,
    )  # fmt: skip
    data = tuple(
        GuestData(address=one.address, userdata=b"hello", metadata=dict.fromkeys(KEYS, one.hostname), password=None)
        for one in held
    )
    return d.router(
        interfaces=(guest, d.interfaces()[1]),
        dhcp=(network,),
        metadata=Metadata(listen=(GATEWAY,), guests=data),
        source_nat=(SourceNat(device="eth2", public=d.PUBLIC, source=str(NETWORK)),),
        egress=(Egress(device="eth0", source=str(NETWORK), allow_by_default=True),),
        port_forwards=tuple(d.forward(f"f{at}", 10_000 + at, 80, private=_address(at % hosts)) for at in range(rules)),
        firewall=tuple(d.allow(f"a{at}", 10_000 + at) for at in range(rules)),
    )


def _everything() -> RouterDocument:
    """Every service that runs a daemon."""
    rule = LoadBalancer(
        rule="web", public=d.PUBLIC, port=80, private_port=80, algorithm=Algorithm.ROUND_ROBIN, keep_alive=True,
        members=(_address(0),),
    )  # fmt: skip
    return d.router(dhcp=d.dhcp(), dns=d.dns(), metadata=d.metadata(), source_nat=d.source_nat(),
                    firewall=(d.allow("web", 80),), balancing=Balancing(rules=(rule,)))  # fmt: skip


# ---------------------------------------------------------------- the measurements
def _boot(hosts: int, rules: int) -> float:
    """Seconds from the start of the agent until the last guest is served."""
    lab = Lab(Path("/dev/shm"))
    try:
        lab.build()
        document, last = _document(hosts, rules), hosts - 1
        lab.guest_address(f"{_address(last)}/20")
        began = time.perf_counter()
        lab.start_agent()
        report = lab.apply(document)
        if report.faults:
            raise RuntimeError(report.faults[0].why)
        _lease(lab, last)
        said = lab.http(lab.guest, GATEWAY, "/latest/meta-data/instance-id")
        if said.strip() != f"200 g{last}":
            raise RuntimeError(f"the metadata of the last guest is {said!r}")
        return time.perf_counter() - began
    finally:
        lab.remove()


def _lease(lab: Lab, number: int) -> None:
    address = dhcp.lease(lab.guest, "eth0", _mac(number), every_s=0.02, patience_s=PATIENCE_S)
    if address != _address(number):
        raise RuntimeError(f"guest {number} was given {address}")


def _changes(lab: Lab, count: int) -> float:
    """Seconds for so many new reservations, the last of which is asked for."""
    lab.apply(_document(count, 10))
    documents = [_document(count + at, 10) for at in range(count + 1)]
    came, began = 0, time.perf_counter()
    while came < count:
        came = min(count, max(came + 1, int((time.perf_counter() - began) / ARRIVAL_S)))
        lab.apply(documents[came])
    _lease(lab, 2 * count - 1)
    return time.perf_counter() - began


def _gbit(lab: Lab, megabytes: int) -> float:
    """Gbit that a second of CPU brings from the guest to the outside."""
    run_python = (sys.executable, "-c")
    sink = lab.spawn(lab.outside, *run_python, SINK, stdout=subprocess.PIPE)
    try:
        assert sink.stdout is not None
        sink.stdout.readline()
        sent = float(lab.out(lab.guest, *run_python, SOURCE, d.OUTSIDE, str(megabytes)))
        count, received = sink.communicate(timeout=PATIENCE_S)[0].split()
    finally:
        sink.kill()
        sink.wait()
    return int(count) * 8 / 1e9 / (sent + float(received))


def _repair(lab: Lab) -> float:
    """Seconds from a forward's end by hand to its return, as the agent reports it."""
    assert lab.host is not None
    before = len(lab.host.notices)
    element = f"{{ {d.PUBLIC} . tcp . 10000 }}"
    lab.out(lab.router, "nft", "delete", "element", "inet", "sysvm", "ports", element)
    began = time.perf_counter()
    report = lab.host.heard(DriftReport, before)
    if not report.mended:
        raise RuntimeError(report.difference)
    return time.perf_counter() - began


def _memory(lab: Lab) -> float:
    """What the processes in the router's namespace hold."""
    found = 0.0
    for pid in lab.out(lab.router, "ip", "netns", "pids", lab.router).split():
        with contextlib.suppress(FileNotFoundError, LookupError, ProcessLookupError):
            found += pss_mb(int(pid))
    return found
