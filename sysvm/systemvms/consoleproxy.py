"""Console proxies: which one serves a guest, when one may go, and what a proxy is configured to be."""

from dataclasses import dataclass
from typing import Literal

from sysvm.systemvms.fleet import Member, least_loaded
from sysvm.wire.documents import Certificate, ConsoleProxyDocument


def assign(previous: int | None, proxies: tuple[Member, ...], session_max: int, *, first: bool = False) -> int | None:
    """The proxy that serves a guest: its previous one whatever its load, else the least loaded with room (or simply the
    `first` with room)."""
    serving = [proxy for proxy in proxies if proxy.serves]
    if any(proxy.id == previous for proxy in serving):
        return previous
    roomy = [proxy for proxy in serving if proxy.load < session_max]
    chosen = min(roomy, key=lambda proxy: proxy.id, default=None) if first else least_loaded(roomy)
    return chosen.id if chosen is not None else None


@dataclass(frozen=True, slots=True)
class Emptying:
    """A console proxy whose present incarnation is about to end."""

    sessions: int
    others_serve: bool
    forced: bool
    until: float | None  # when waiting for its sessions ends; None: it has not begun


Drain = Literal["begin", "wait", "go"]


def drain(proxy: Emptying, now: float) -> Drain:
    """Its sessions go on elsewhere first, when there is an elsewhere; but nobody waits for them for ever."""
    if proxy.forced or not proxy.sessions or not proxy.others_serve:
        return "go"
    if proxy.until is None:
        return "begin"
    return "wait" if now < proxy.until else "go"


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Another living proxy of the zone."""

    address: str
    stays: bool  # it is to run, and is not being emptied


@dataclass(frozen=True, slots=True)
class ProxyFacts:
    """What the document of a proxy is made of."""

    machine: str
    name: str
    ssl: bool
    certificate: Certificate | None
    relay_ca: str
    relay_certificate: Certificate
    session_max: int
    load_interval_ms: int
    draining: bool
    domain: str = ""
    neighbours: tuple[Neighbour, ...] = ()


def document(facts: ProxyFacts) -> ConsoleProxyDocument:
    """The complete configuration of a proxy. HTTPS needs both the setting and a certificate that can be used.

    Pages of all proxies may attach here (their own may have died), and go on from here with those that stay."""
    secure = facts.ssl and facts.certificate is not None
    port = 8443 if secure else 8080
    names = {neighbour: host_name(neighbour.address, facts.domain) for neighbour in facts.neighbours}
    return ConsoleProxyDocument(
        machine=facts.machine,
        name=facts.name,
        page_port=443 if secure else 80,
        websocket_port=port,
        certificate=facts.certificate if secure else None,
        relay_ca=facts.relay_ca,
        relay_certificate=facts.relay_certificate,
        max_sessions=facts.session_max,
        load_interval_ms=max(500, facts.load_interval_ms),
        draining=facts.draining,
        origins=tuple(dict.fromkeys(names.values())),
        others=tuple(dict.fromkeys(f"{name}:{port}" for neighbour, name in names.items() if neighbour.stays)),
    )


def host_name(address: str, domain: str) -> str:
    """What a browser is sent to: the address, its dashed name under `*.domain`, or the one name of a balancer."""
    if not domain:
        return address
    if domain.startswith("*."):
        return f"{address.replace('.', '-').replace(':', '-')}.{domain[2:]}"
    return domain


def page_url(address: str, domain: str, *, secure: bool, token: str, extra: str = "", language: str = "") -> str:
    """Where the console of one ticket opens."""
    root = f"{'https' if secure else 'http'}://{host_name(address, domain)}"
    port = 8443 if secure else 8080
    more = (f"&language={language}" if language else "") + (f"&extra={extra}" if extra else "")
    return f"{root}/resource/noVNC/vnc.html?autoconnect=true&show_dot=true&port={port}&token={token}{more}"
