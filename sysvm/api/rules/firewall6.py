"""Between whom an IPv6 firewall rule speaks. Pure: raises Refused, or returns the parsed parts."""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from sysvm.api.rules import firewall
from sysvm.basics.errors import Refused

ANYWHERE = "::/0"
_WAYS = {"ingress": "Ingress", "egress": "Egress"}


@dataclass(frozen=True, slots=True)
class Ends:
    """CIDRs; none means any address."""

    sources: tuple[str, ...]
    destinations: tuple[str, ...]


def way(given: str | None) -> str:
    """Ingress unless said."""
    found = _WAYS.get((given or "ingress").strip().lower())
    if found is None:
        raise Refused(f"Invalid traffic type {given}; it is ingress or egress")
    return found


def ends(traffic_type: str, cidr: str, sources: Iterable[str], destinations: Iterable[str]) -> Ends:
    """The outside is anywhere when it is not given, guests are the whole network."""
    near, far = (_six(texts) for texts in (destinations, sources))
    if traffic_type == "Egress":
        near, far = far, near
    network = ipaddress.IPv6Network(cidr)
    for text in near:
        if text != ANYWHERE and not ipaddress.IPv6Network(text).subnet_of(network):
            raise Refused(f"The CIDR {text} of guests is not within {network}, that of the network")
    if traffic_type == "Egress":
        return Ends(near or (str(network),), far)
    return Ends(far or (ANYWHERE,), near)


def _six(texts: Iterable[str]) -> tuple[str, ...]:
    found = firewall.cidrs(texts)
    for text in found:
        if ":" not in text:
            raise Refused(f"{text} is of IPv4; an IPv6 firewall rule is about CIDRs of IPv6")
    return found


def share(standing: Iterable[str], new: Iterable[str]) -> bool:
    """Whether two rules have a destination in common; none given means any."""
    one, other = set(standing), set(new)
    return not one or not other or bool(one & other)
