"""How fast the router sends through an interface: a token bucket of the kernel (tc, tbf) where the document gives a rate.

It only smooths what leaves. What comes in is shaped by the host, on the port that leads here, and what is sent too fast in spite
of this is dropped there by the guard; shaped here first, connections hardly lose anything to it.
"""

import json
from collections.abc import Hashable

from sysvm.agent import netlink
from sysvm.agent.command import run
from sysvm.agent.roles.router.service import Wrong, device
from sysvm.wire.channel import ServiceSeen
from sysvm.wire.documents import RouterDocument

Rates = dict[str, int]  # bytes a second by device; 0: as fast as it goes
MOST_MBIT = 1_000_000
_BYTES = 125_000  # a second in a megabit a second
_KIND = "tbf"


def render(document: RouterDocument) -> Rates:
    """The rates of a document. Raises Wrong."""
    for each in document.interfaces:
        if not 0 <= each.rate_mbit <= MOST_MBIT:
            raise Wrong(f"{each.device}: {each.rate_mbit} Mbit/s cannot be", f"0 (unlimited) to {MOST_MBIT}")
    return {device(each.device, "interfaces"): each.rate_mbit * _BYTES for each in document.interfaces}


def steps(wanted: Rates, seen: Rates) -> tuple[str, ...]:
    """Lines for `tc -batch`. Pure."""
    lines = []
    for name, rate in sorted(wanted.items()):
        if rate and seen.get(name, 0) != rate:
            burst = max(16 * 1024, rate // 100)  # what comes in 10 ms, for coarse timers
            lines.append(f"qdisc replace dev {name} root tbf rate {rate * 8}bit burst {burst} latency 50ms")
        elif not rate and seen.get(name, 0):
            lines.append(f"qdisc del dev {name} root")
    return tuple(lines)


class Shaping:
    """The service."""

    name = "shaping"

    def render(self, document: RouterDocument) -> Rates:
        """By interface. Raises Wrong."""
        return render(document)

    def apply(self, rendering: Rates) -> None:
        """Changes what differs."""
        lines = steps(rendering, _look())
        if lines:
            run("tc", "-batch", "-", said="\n".join(lines) + "\n")

    def difference(self, rendering: Rates) -> str:
        """What the kernel's queues lack."""
        return "; ".join(f"needed: tc {line}" for line in steps(rendering, _look()))

    def fingerprint(self) -> Hashable:
        """Kinds and parameters of all queues."""
        return netlink.queues()

    def daemons(self) -> tuple[ServiceSeen, ...]:
        """None: the kernel does it."""
        return ()

    def stop(self) -> None:
        """The queues stay until the machine is gone."""


def _look() -> Rates:
    if not any(kind == _KIND for _, kind, _ in netlink.queues()):
        return {}  # without a program: most routers have no rate
    listed = json.loads(run("tc", "-j", "qdisc", "show") or "[]")
    return {each["dev"]: int(each["options"]["rate"]) for each in listed if each["kind"] == _KIND and each.get("root")}
