"""Static routes of a VPC: networks behind a machine in one of its tiers, or behind a private gateway. They carry a protocol
number of our own, so that only ours are looked at and removed; a router that serves one network has none.

A route goes with the address that leads to its next hop; it is put back by the watch for drift.
"""

import json
from collections.abc import Hashable

from sysvm.agent import netlink
from sysvm.agent.command import run
from sysvm.agent.roles.router.service import address, network
from sysvm.wire.channel import ServiceSeen
from sysvm.wire.documents import RouterDocument

Wanted = dict[str, str]  # next hop by destination
PROTOCOL = "188"  # of rtnetlink; free for whoever wants it


def render(document: RouterDocument) -> Wanted | None:
    """The routes of a VPC; None where there is no VPC. Raises Wrong."""
    if document.vpc is None:
        return None
    return {str(network(each.destination, "vpc")): address(each.via, "vpc") for each in document.vpc.routes}


def steps(wanted: Wanted, seen: Wanted) -> tuple[str, ...]:
    """Lines for `ip -batch`. Pure."""
    lost = [f"route del {to} via {via} proto {PROTOCOL}" for to, via in sorted(seen.items()) if to not in wanted]
    new = [f"route replace {to} via {via} proto {PROTOCOL}" for to, via in sorted(wanted.items()) if seen.get(to) != via]
    return (*lost, *new)


class Routes:
    """The service."""

    name = "routes"

    def render(self, document: RouterDocument) -> Wanted | None:
        """By destination. Raises Wrong."""
        return render(document)

    def apply(self, rendering: Wanted | None) -> None:
        """Changes what differs."""
        lines = steps(rendering, _look()) if rendering is not None else ()
        if lines:
            run("ip", "-batch", "-", said="\n".join(lines) + "\n")

    def difference(self, rendering: Wanted | None) -> str:
        """What the kernel's table lacks or has too much."""
        return "" if rendering is None else "; ".join(f"needed: ip {line}" for line in steps(rendering, _look()))

    def fingerprint(self) -> Hashable:
        """A hash over addresses and routes."""
        return netlink.addresses_and_routes()

    def daemons(self) -> tuple[ServiceSeen, ...]:
        """None: the kernel does it."""
        return ()

    def stop(self) -> None:
        """The routes stay until the machine is gone."""


def _look() -> Wanted:
    listed = json.loads(run("ip", "-j", "route", "show", "proto", PROTOCOL) or "[]")
    return {_with_prefix(each["dst"]): each["gateway"] for each in listed if "gateway" in each}


def _with_prefix(text: str) -> str:
    return text if "/" in text else f"{text}/32"
