"""Console proxies: how many a zone needs, which one serves a guest, and what a proxy is configured to be."""

from dataclasses import dataclass

from sysvm.wire.documents import Certificate, ConsoleProxyDocument


@dataclass(frozen=True, slots=True)
class Proxy:
    """A console proxy as the planner sees it."""

    id: int
    wanted: str
    running: bool  # up and its document is live
    sessions: int
    draining: bool
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Rules:
    """The zone's settings."""

    session_max: int = 50
    standby: int = 10
    launch_max: int = 10
    restart: bool = True


@dataclass(frozen=True, slots=True)
class Grow:
    """Make one more."""


@dataclass(frozen=True, slots=True)
class Restart:
    """Start a stopped one."""

    id: int


@dataclass(frozen=True, slots=True)
class Enough:
    """Nothing to do."""

    why: str


FleetStep = Grow | Restart | Enough


def plan_fleet(proxies: tuple[Proxy, ...], rules: Rules) -> FleetStep:
    """One step towards enough proxies: capacity must exceed what is used by the stand-by."""
    stopped = next((proxy for proxy in proxies if proxy.wanted == "stopped"), None)
    if stopped is not None and rules.restart:
        return Restart(stopped.id)
    if any(proxy.wanted == "running" and not proxy.running for proxy in proxies):
        return Enough("one is on its way")
    serving = [proxy for proxy in proxies if proxy.running and not proxy.draining]
    room = len(serving) * rules.session_max - sum(proxy.sessions for proxy in serving)
    if serving and room > rules.standby:
        return Enough("there is room")
    if len(proxies) >= rules.launch_max:
        return Enough(f"{rules.launch_max} is the most that may be launched")
    return Grow()


def assign(previous: int | None, proxies: tuple[Proxy, ...], rules: Rules) -> int | None:
    """The proxy that serves a guest: its previous one whatever its load, else the least loaded with room."""
    serving = [proxy for proxy in proxies if proxy.running and not proxy.draining]
    if any(proxy.id == previous for proxy in serving):
        return previous
    roomy = [proxy for proxy in serving if proxy.sessions < rules.session_max]
    return min(roomy, key=lambda proxy: (proxy.sessions, proxy.id)).id if roomy else None


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
