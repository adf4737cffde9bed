"""Names of console proxies: `aaa-bbb-ccc-ddd.domain` is aaa.bbb.ccc.ddd, for the addresses of public ranges and no others.

Rendered for Knot DNS (module synthrecord, which makes such names of both families) and as plain records for those who run a
name server of their own. Pure. Why it has to be: a wildcard certificate covers names, not addresses, and the address of a
proxy is not known before it is made.
"""

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TTL = 300
MOST_RECORDS = 65_536  # of one range as plain records; a larger one needs a server that makes names

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Domain:
    """A domain without its `*.`, and the ranges (first, last) whose addresses have names in it."""

    name: str
    ranges: tuple[tuple[str, str], ...]


def parse_listen(text: str) -> tuple[str, int]:
    """Address and port of "ADDRESS" or "ADDRESS:PORT" ("[::]:53" for IPv6). Raises ValueError."""
    host, port = text.strip(), "53"
    if host.startswith("["):
        host, closed, rest = host[1:].partition("]")
        if not closed:
            raise ValueError("a bracket is open")
        port = rest.removeprefix(":") or port
    elif host.count(":") == 1:
        host, _, port = host.partition(":")
    number = int(port)
    if not 0 < number < 65536:
        raise ValueError(f"{number} is no port")
    return str(ipaddress.ip_address(host)), number


def knot_config(domains: tuple[Domain, ...], listen: tuple[str, int], folder: Path) -> str:
    """knot.conf(5). Zone files are beside it, as `zone_text` renders them."""
    address, port = listen
    lines = [
        "server:",
        f'    rundir: "{folder}"',
        f'    listen: [ "{address}@{port}" ]',
        "    udp-workers: 1",
        "    tcp-workers: 1",
        "    background-workers: 1",
        "log:",
        "  - target: stderr",
        "    any: warning",
        "database:",
        f'    storage: "{folder}"',
        "mod-synthrecord:",
    ]
    for domain in domains:
        networks = ", ".join(f"{first}-{last}" for first, last in domain.ranges)
        lines += [f"  - id: {domain.name}", "    type: forward", f"    ttl: {TTL}", f"    network: [ {networks} ]"]
    lines += [
        "template:",
        "  - id: default",
        f'    storage: "{folder}"',
        "    zonefile-sync: -1",
        "    zonefile-load: whole",
        "    journal-content: none",
        "zone:",
    ]
    for domain in domains:
        lines += [
            f"  - domain: {domain.name}",
            f"    file: {domain.name}.zone",
            f"    module: mod-synthrecord/{domain.name}",
        ]
    return "\n".join(lines) + "\n"


def zone_text(domain: Domain, listen: tuple[str, int], serial: int) -> str:
    """What a zone has besides its made names: who is responsible, and where its server is."""
    address = ipaddress.ip_address(listen[0])
    lines = [
        f"$ORIGIN {domain.name}.",
        f"@ {TTL} SOA ns hostmaster {serial} 3600 600 86400 60",
        f"@ {TTL} NS ns",
    ]
    if not address.is_unspecified:
        lines.append(f"ns {TTL} {_type(address)} {address}")
    return "\n".join(lines) + "\n"


def records(domain: Domain) -> str:
    """Lines of a zone file, one for each address of the ranges."""
    lines = [f"$ORIGIN {domain.name}.", f"$TTL {TTL}"]
    for first, last in domain.ranges:
        low, high = ipaddress.ip_address(first), ipaddress.ip_address(last)
        if int(high) - int(low) >= MOST_RECORDS:
            lines.append(f"; {first} to {last}: too many for records; use a server that makes names")
        else:
            lines += [f"{dashed(address)} {_type(address)} {address}" for address in _between(low, high)]
    return "\n".join(lines) + "\n"


def dashed(address: Address) -> str:
    """The label of an address."""
    return str(address).replace(".", "-").replace(":", "-")


def _between(low: Address, high: Address) -> Iterator[Address]:
    for offset in range(int(high) - int(low) + 1):
        yield low + offset


def _type(address: Address) -> str:
    return "A" if address.version == 4 else "AAAA"
