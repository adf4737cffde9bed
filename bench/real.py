"""Real system VMs on this machine: router.serve_container_s, router.serve_vm_s, rule.live_ms, heal.router_s, and the
server's memory after the real demo.

The demo of a state folder of its own is brought up (container runtime), measured, and taken down. Guests are emulated VMs
where there is no KVM; what is measured ends before a guest boots, or begins after. What a user waits for is measured where
he would see it: at the DHCP answer, at the connection that is taken.
"""

import contextlib
import functools
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import msgspec

from bench import console_open, dhcp
from bench.groups import Missing
from bench.measure import cpu_s, median, percentile, rss_mb
from bench.rows import Row, failed, row
from sysvm.cli.client import ApiError, Client, Json, Keys
from sysvm.cli.demo import places as demo_places
from sysvm.cli.demo import tenant
from sysvm.cli.demo.supervisor import Supervisor
from sysvm.hosts.layout import Layout

NAMES = (
    "router.serve_container_s",
    "router.serve_vm_s",
    "rule.live_ms.p50_at_10",
    "rule.live_ms.p95_at_10",
    "rule.live_ms.p50_at_1000",
    "rule.live_ms.p95_at_1000",
    "heal.router_s",
    "server.rss_real_mb",
    "console.open_ms",
)
NEEDS = ("root", "lxc-start", "qemu-system-x86_64", "s6-svscan", "nft", *console_open.NEEDS)
SYSVM = str(Path(sys.executable).with_name("sysvm"))
FIRST_PORT = 10000
PATIENCE_S = 180.0
ATTEMPT_EVERY_S = 0.005
# How often the DHCP client asks: each question costs an emulated router a millisecond.
ASK_EVERY_S = {"container": 0.005, "vm": 0.05}


@dataclass(frozen=True, slots=True)
class Ground:
    """The demo that stands."""

    state: Path
    client: Client
    zone: str
    template: str
    network: str
    guest: str
    address: Json  # of the network

    @property
    def public(self) -> str:
        """The network's address."""
        return str(self.address["ipaddress"])


def run(*, tiny: bool) -> Iterator[Row]:
    """All rows; each survives the failure of another one."""
    with tempfile.TemporaryDirectory(prefix="sysvm-bench-") as above:
        state = Path(above) / "demo"
        try:
            ground = demo(state)
            yield from _each(ground, tiny=tiny)
        finally:
            subprocess.run([SYSVM, "down", "--state", str(state)], check=False, capture_output=True)


def _each(ground: Ground, *, tiny: bool) -> Iterator[Row]:
    works: list[tuple[tuple[str, ...], Callable[[], list[Row]]]] = [
        (("server.rss_real_mb",), lambda: [_memory(ground)]),
        ((console_open.NAME,), lambda: [console_open.measure(ground.client, ground.guest, 1 if tiny else 5)]),
        (("heal.router_s",), lambda: [_heal(ground, 1 if tiny else 3)]),
        (NAMES[2:4], lambda: _rules(ground, 10, 3 if tiny else 20, NAMES[2:4])),
        (NAMES[4:6], lambda: _rules(ground, 12 if tiny else 1000, 3 if tiny else 20, NAMES[4:6])),
        (("router.serve_container_s",), lambda: [_serve(ground, "container", 1 if tiny else 3)]),
        (("router.serve_vm_s",), lambda: [_serve(ground, "vm", 1 if tiny else 3)]),
    ]
    for names, work in works:
        try:
            busy = f"; load {os.getloadavg()[0]:.0f} on {os.cpu_count()} processors when it began"
            yield from (msgspec.structs.replace(one, note=one.note + busy) for one in work())
        except (ApiError, OSError, RuntimeError, LookupError, subprocess.SubprocessError) as error:
            for name in names:
                yield failed(name, f"{type(error).__name__}: {error}")


def demo(state: Path) -> Ground:
    """The demo of this state folder, up."""
    words = [SYSVM, "demo", "--state", str(state), "--runtime", "container"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Missing(f"the demo did not come up: {(done.stderr.strip() or done.stdout.strip())[-300:]}")
    places = demo_places.of(state)
    client = Client(places.endpoint, Keys(**json.loads((state / "keys.json").read_text())))
    (network,) = client.rows("listNetworks", "network", keyword="demo")
    (guest,) = client.rows("listVirtualMachines", "virtualmachine", name="one")
    (address,) = client.rows("listPublicIpAddresses", "publicipaddress", associatednetworkid=network["id"], issourcenat="true")
    return Ground(state, client, guest["zoneid"], guest["templateid"], network["id"], guest["id"], address)


def _memory(ground: Ground) -> Row:
    pid = Supervisor(ground.state).pid("server")
    if pid is None:
        raise LookupError("the demo's server does not run")
    return row("server.rss_real_mb", rss_mb(pid), "MB", note="resident, after the real demo with containers")


# ---------------------------------------------------------------- a router serves
def _serve(ground: Ground, runtime: str, times: int) -> Row:
    ground.client.call("updateConfiguration", name="systemvm.runtime", value=runtime)
    try:
        found = [_serve_once(ground, runtime, f"{runtime}{at}") for at in range(times)]
    finally:
        ground.client.call("updateConfiguration", name="systemvm.runtime", value="container")
    note = "deploy call to the DHCP ACK of a raw client on the guest network's bridge; the guest starts only then"
    if runtime == "vm":
        cpu = median([seconds for _, seconds in found])
        note += f"; {times} times; its QEMU (one processor, emulated unless KVM is proved) had used {cpu:.1f} s of CPU by then"
    return row(f"router.serve_{runtime}_s", median([seconds for seconds, _ in found]), "s", note=note)


def _serve_once(ground: Ground, runtime: str, name: str) -> tuple[float, float]:
    """(seconds until a client has its lease, seconds of CPU that the router's QEMU had used by then)."""
    client = ground.client
    (offering,) = client.rows("listNetworkOfferings", "networkoffering", name=tenant.OFFERING)
    made = client.call("createNetwork", name=name, displaytext=name, networkofferingid=offering["id"], zoneid=ground.zone)
    network = made["network"]["id"]
    (size, *_) = client.rows("listServiceOfferings", "serviceoffering", issystem="false")
    began = time.perf_counter()
    deployed = client.call("deployVirtualMachine", name=name, serviceofferingid=size["id"], templateid=ground.template,
                           zoneid=ground.zone, networkids=network)  # fmt: skip
    (guest,) = client.rows("listVirtualMachines", "virtualmachine", id=deployed["id"])
    layout = Layout.of(ground.state)
    mac, every_s = guest["nic"][0]["macaddress"], ASK_EVERY_S[runtime]
    dhcp.lease(layout.namespace, layout.bridge(network), mac, every_s=every_s, patience_s=PATIENCE_S)
    took, cpu = time.perf_counter() - began, _emulator_cpu_s(ground, network)
    until(lambda: client.rows("listNetworks", "network", id=network)[0]["state"] == "Implemented", f"network {name}")
    client.job("destroyVirtualMachine", id=deployed["id"], expunge="true")
    client.job("deleteNetwork", id=network, forced="true")
    return took, cpu


def _emulator_cpu_s(ground: Ground, network: str) -> float:
    """What the QEMU of the network's router has used; 0 for a container."""
    (router,) = ground.client.rows("listRouters", "router", networkid=network)
    file = Layout.of(ground.state).run / "libvirt/qemu" / f"{router['id']}-1.pid"
    return cpu_s(int(file.read_text())) if file.exists() else 0.0


# ---------------------------------------------------------------- a rule is live
def _rules(ground: Ground, there: int, samples: int, names: tuple[str, ...]) -> list[Row]:
    """Rules are added until there are `there`; then some more are timed, one by one."""
    _open_firewall(ground)
    before = _count(ground)
    added = [_forward(ground, FIRST_PORT + at) for at in range(before, there)]
    for job in added[-1:]:  # jobs end in their order: with this one nothing is on its way any more
        until(functools.partial(_is_over, ground, job), "the rules that were added")
    found = [_live_ms(ground, FIRST_PORT + max(before, there) + at) for at in range(samples)]
    note = f"createPortForwardingRule to the first TCP connection through it; {samples} times"
    return [
        row(name, value, "ms", note=note) for name, value in zip(names, (median(found), percentile(found, 0.95)), strict=True)
    ]


def _open_firewall(ground: Ground) -> None:
    wide = {"startport": FIRST_PORT, "endport": FIRST_PORT + 5000}
    there = ground.client.rows("listFirewallRules", "firewallrule", ipaddressid=ground.address["id"])
    if not any(int(one.get("startport", 0)) == FIRST_PORT for one in there):
        ground.client.job("createFirewallRule", ipaddressid=ground.address["id"], protocol="tcp", cidrlist="0.0.0.0/0", **wide)


def _count(ground: Ground) -> int:
    listed = ground.client.call("listPortForwardingRules", ipaddressid=ground.address["id"], page=1, pagesize=1)
    return int(listed.get("count", 0))


def _is_over(ground: Ground, job: str) -> bool:
    return bool(ground.client.call("queryAsyncJobResult", jobid=job)["jobstatus"])


def _forward(ground: Ground, port: int) -> str:
    """Asks for a port forward; the job's id."""
    asked = ground.client.call(
        "createPortForwardingRule",
        ipaddressid=ground.address["id"],
        protocol="tcp",
        publicport=port,
        privateport=80,
        virtualmachineid=ground.guest,
        openfirewall="false",
    )
    return str(asked["jobid"])


def _live_ms(ground: Ground, port: int) -> float:
    began = time.perf_counter()
    _forward(ground, port)
    _first_connection(ground.public, port)
    return (time.perf_counter() - began) * 1e3


def _first_connection(address: str, port: int) -> None:
    """Begins another connection every few milliseconds until one of them is taken.

    None is given up meanwhile: an answer that is late, because the guest is emulated and busy, is still the answer.
    """
    end = time.perf_counter() + PATIENCE_S
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as waiting:
        while time.perf_counter() < end:
            attempt = stack.enter_context(socket.socket())
            attempt.setblocking(False)
            attempt.connect_ex((address, port))
            waiting.register(attempt, selectors.EVENT_WRITE)
            for key, _ in waiting.select(ATTEMPT_EVERY_S):
                taken = cast(socket.socket, key.fileobj)
                if not taken.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    return
                waiting.unregister(taken)
    raise RuntimeError(f"port {port}: no connection within {PATIENCE_S:.0f} s")


def passes(address: str, port: int) -> bool:
    """Whether a TCP connection is taken; a lost first packet costs 20 ms, not the kernel's second."""
    try:
        with socket.create_connection((address, port), 0.02):
            return True
    except OSError:
        return False


# ---------------------------------------------------------------- a router dies
def _heal(ground: Ground, times: int) -> Row:
    found = [_heal_once(ground) for _ in range(times)]
    served = median([took for took, _ in found])
    dark = median([gap for _, gap in found])
    note = "kill -9 of the container's init to dnsmasq of the next life"
    note += f"; new TCP connections through it failed for {dark:.2f} s (its network outlives it)"
    return row("heal.router_s", served, "s", note=note)


def _heal_once(ground: Ground) -> tuple[float, float]:
    """(seconds until its services are back, longest time without a new connection)."""
    (router,) = ground.client.rows("listRouters", "router", networkid=ground.network)
    container = _container(ground.state, router["name"])
    old = _init(ground.state, container)
    if old is None:
        raise LookupError(f"container {container} does not run")
    last = began = time.perf_counter()
    dark = 0.0
    os.kill(old, signal.SIGKILL)
    while True:
        if passes(ground.public, 80):
            dark, last = max(dark, time.perf_counter() - last), time.perf_counter()
        now = _init(ground.state, container)
        if now not in (None, old) and _serves_dhcp(now) and last > began:
            return time.perf_counter() - began, dark
        if time.perf_counter() - began > PATIENCE_S:
            raise RuntimeError("the router is not back")


def _container(state: Path, name: str) -> str:
    """The container of a machine, by the name that its config gives it."""
    for config in Layout.of(state).lxc.glob("*/config"):
        if f"= {name}" in config.read_text():
            return config.parent.name
    raise LookupError(f"no container is called {name}")


def _init(state: Path, container: str) -> int | None:
    told = subprocess.run(
        ["lxc-info", "-P", str(Layout.of(state).lxc), "-n", container, "-p", "-H"],
        capture_output=True, text=True, check=False,
    ).stdout.strip()  # fmt: skip
    return int(told) if told.isdecimal() and told != "-1" else None


def _serves_dhcp(init: int | None) -> bool:
    """Whether a dnsmasq runs in the process namespace of this init."""
    try:
        space = Path(f"/proc/{init}/ns/pid").readlink()
    except OSError:
        return False
    for place in Path("/proc").glob("[0-9]*/comm"):
        try:
            if place.read_text() == "dnsmasq\n" and (place.parent / "ns/pid").readlink() == space:
                return True
        except OSError:
            continue
    return False


def until(condition: Callable[[], bool], what: str) -> None:
    end = time.perf_counter() + PATIENCE_S
    while not condition():
        if time.perf_counter() > end:
            raise RuntimeError(f"{what}: not within {PATIENCE_S:.0f} s")
        threading.Event().wait(0.005)
