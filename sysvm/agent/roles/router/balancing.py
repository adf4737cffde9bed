"""From the load balancer's part of a router's document to HAProxy's configuration. Pure.

A rule is one `listen` section, named by its address and port. What of it may change while HAProxy runs, the members, is
kept apart from its frame: two configurations with the same frame differ by commands of HAProxy's own socket, others by a
reload. Members with cookies are part of the frame, for HAProxy adds no server with a cookie at run time.

HTTP is spoken on port 80, on 443 and 8443 where TLS ends here, and wherever a cookie decides; all else is carried as it
is. Checks and stick tables outlive a reload: the state of servers goes by a file, tables by HAProxy's peers.
"""

from ipaddress import ip_network

import msgspec

from sysvm.agent.roles.router import stickiness
from sysvm.agent.roles.router.service import Wrong, address, network
from sysvm.basics.digest import digest
from sysvm.wire.balancing import Algorithm, Balancing, Carried, HealthCheck, LoadBalancer, StatisticsPage, StickyBy

PEERS = "127.0.0.1:10000"
LISTS, CERTIFICATES = "lists", "certificates"
_HTTP_PORTS = {Carried.TCP: (80,), Carried.TCP_PROXY: (80,), Carried.SSL: (80, 443, 8443)}
_EVERYWHERE = ip_network("0.0.0.0/0")

_COMMON = """\
global
    nbthread {threads}
    maxconn {most}
    user haproxy
    group haproxy
    chroot {folder}/empty
    localpeer router
    description {frame}
    stats socket {folder}/control.sock mode 600 level admin expose-fd listeners
    server-state-file {folder}/servers
    hard-stop-after 12h
    ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets
    tune.ssl.default-dh-param 2048
defaults
    maxconn {most}
    load-server-state-from-file global
    retries 3
    option redispatch
    option dontlog-normal
    timeout connect 5s
    timeout check 2s
    timeout client 1h
    timeout server 1h
    timeout client-fin 30s
    timeout tunnel 1h
peers sysvm
    bind {peers}
    server router
"""
_HTTP = (
    "mode http", "option forwardfor", "timeout client 5m", "timeout server 5m", "timeout http-request 30s",
    "timeout http-keep-alive 10s",
)  # fmt: skip
_TCP = ("mode tcp", "option clitcpka", "option srvtcpka")


class Section(msgspec.Struct, frozen=True):
    """One rule: what only a reload changes (`lines`, `options`), and its members by name."""

    name: str
    rule: str
    door: tuple[str, int]
    lines: tuple[str, ...]
    options: str
    members: tuple[tuple[str, str], ...]  # name, address:port
    cookies: bool = False

    @property
    def frame(self) -> tuple[object, ...]:
        """What only a reload changes."""
        return self.name, self.lines, self.options, self.members if self.cookies else ()

    def text(self) -> str:
        """As HAProxy reads it."""
        head = [f"listen {self.name}", *(f"    {line}" for line in self.lines)]
        cookie = {name: f" cookie {_cookie(self.rule, name)}" if self.cookies else "" for name, _ in self.members}
        return "\n".join([*head, *(f"    server {name} {at} {self.options}{cookie[name]}" for name, at in self.members), ""])


class Config(msgspec.Struct, frozen=True):
    """The whole configuration. Files are named by their content, below the folder; those with keys are for root alone."""

    sections: tuple[Section, ...]
    files: tuple[tuple[str, str], ...]
    most: int

    @property
    def frame(self) -> str:
        """Names everything that only a reload changes."""
        return digest((_COMMON, self.most, [section.frame for section in self.sections], [name for name, _ in self.files]))[:32]

    def text(self, folder: str, threads: int) -> str:
        """As HAProxy reads it."""
        common = _COMMON.format(folder=folder, threads=threads, most=self.most, frame=self.frame, peers=PEERS)
        return common + "".join(section.text() for section in self.sections)


def render(balancing: Balancing | None, folder: str) -> Config | None:
    """The configuration, or None when there is nothing to serve. Raises Wrong with the rule's id."""
    if balancing is None:
        return None
    served = [rule for rule in balancing.rules if rule.protocol is not Carried.SSL or rule.certificate is not None]
    _apart(served)
    files: dict[str, str] = {}
    page = balancing.statistics
    sections = [_section(rule, page, files, folder) for rule in served]
    if page is not None and page.port is not None:
        taken = {section.door for section in sections}
        sections += [_page(page, each, page.port) for each in page.addresses if (each, page.port) not in taken]
    if not 1 <= balancing.max_connections <= 1_000_000:
        raise Wrong(f"load balancer: {balancing.max_connections} connections cannot be", "1 to 1,000,000")
    if not sections:
        return None
    return Config(tuple(sections), tuple(sorted(files.items())), balancing.max_connections)


def _apart(rules: list[LoadBalancer]) -> None:
    taken: dict[tuple[str, int], str] = {}
    for rule in rules:
        other = taken.setdefault((rule.public, rule.port), rule.rule)
        if other != rule.rule:
            raise Wrong(f"load balancers {other} and {rule.rule} both want {rule.public}:{rule.port}", "remove one")


def _section(rule: LoadBalancer, page: StatisticsPage | None, files: dict[str, str], folder: str) -> Section:
    where = f"load balancer {rule.rule}"
    public = address(rule.public, where)
    door = (public, rule.port)
    for port in (rule.port, rule.private_port):
        if not 1 <= port <= 65535:
            raise Wrong(f"{where}: {port} is no port", "give one from 1 to 65535")
    cookies = rule.stickiness is not None and rule.stickiness.method is StickyBy.LB_COOKIE
    lines = [
        _bind(rule, public, files, folder),
        *_mode(rule, page),
        *_sources(rule, files, folder, where),
        f"balance {rule.algorithm.value}",
        *(("hash-type consistent",) if rule.algorithm is Algorithm.SOURCE else ()),
        *stickiness.lines(rule.stickiness, where),
        *_check_lines(rule.health_check, public, where),
    ]
    members = tuple(sorted(_member(each, rule.private_port, where) for each in dict.fromkeys(rule.members)))
    return Section(_name(*door), rule.rule, door, tuple(lines), _options(rule), members, cookies)


def _name(at: str, port: int) -> str:
    return f"{at.replace('.', '_')}-{port}"


def _member(text: str, port: int, where: str) -> tuple[str, str]:
    at = address(text, where)
    return f"{at.replace('.', '_')}-{port}", f"{at}:{port}"


def _cookie(rule: str, member: str) -> str:
    # Says nothing about the guest's address, and stays the same in every router and for as long as the rule lives.
    return digest((rule, member))[:16]


def speaks_http(rule: LoadBalancer) -> bool:
    """Whether requests are understood, not only bytes carried."""
    by_cookie = rule.stickiness is not None and rule.stickiness.method is not StickyBy.SOURCE
    return by_cookie or rule.port in _HTTP_PORTS[rule.protocol]


def _bind(rule: LoadBalancer, public: str, files: dict[str, str], folder: str) -> str:
    if rule.protocol is not Carried.SSL or rule.certificate is None:
        return f"bind {public}:{rule.port}"
    text = f"{rule.certificate.chain.strip()}\n{rule.certificate.key.strip()}\n"
    name = f"{CERTIFICATES}/{digest(text)[:32]}.pem"
    files[name] = text
    spoken = " alpn h2,http/1.1" if speaks_http(rule) else ""
    return f"bind {public}:{rule.port} ssl crt {folder}/{name}{spoken}"


def _mode(rule: LoadBalancer, page: StatisticsPage | None) -> tuple[str, ...]:
    if not speaks_http(rule):
        return _TCP
    lines = [*_HTTP]
    if not rule.keep_alive:
        lines.append("option httpclose")
    if rule.protocol is Carried.SSL:
        lines.append("http-request set-header X-Forwarded-Proto https")
    if page is not None and page.port is None:
        lines += _page_lines(page)
    return tuple(lines)


def _sources(rule: LoadBalancer, files: dict[str, str], folder: str, where: str) -> tuple[str, ...]:
    allowed = [network(text, where) for text in rule.sources]
    if not allowed or _EVERYWHERE in allowed:
        return ()
    text = "".join(f"{each}\n" for each in sorted(set(allowed)))
    name = f"{LISTS}/{digest(text)[:32]}"
    files[name] = text
    return (f"tcp-request connection reject unless {{ src -f {folder}/{name} }}",)


def _check_lines(check: HealthCheck | None, public: str, where: str) -> tuple[str, ...]:
    if check is None:
        return ()
    for name in ("response_s", "interval_s", "healthy", "unhealthy"):
        if not 1 <= getattr(check, name) <= 3600:
            raise Wrong(f"{where}: {getattr(check, name)} cannot be a health check's {name}", "give 1 to 3600")
    uri = word(check.path, where)
    return (
        "option httpchk",
        f"http-check send meth GET uri {uri} ver HTTP/1.1 hdr Host {public}",
        f"timeout check {check.response_s}s",
    )


def _options(rule: LoadBalancer) -> str:
    check = rule.health_check
    proxy = "send-proxy check-send-proxy " if rule.protocol is Carried.TCP_PROXY else ""
    if check is None:
        return f"{proxy}check inter 2s rise 2 fall 3"
    return f"{proxy}check inter {check.interval_s}s rise {check.healthy} fall {check.unhealthy}"


def _page(page: StatisticsPage, at: str, port: int) -> Section:
    own = address(at, "statistics")
    lines = (f"bind {own}:{port}", "mode http", "option httpclose", "timeout client 1m", *_page_lines(page))
    return Section(f"stats_{_name(own, port)}", "", (own, port), lines, "", ())


def _page_lines(page: StatisticsPage) -> tuple[str, ...]:
    where = "statistics"
    auth = f"{page.user}:{page.password}"
    return (
        "stats enable",
        f"stats uri {word(page.uri, where)}",
        "stats realm Haproxy\\ Statistics",
        *((f"stats auth {word(auth, where)}",) if page.user else ()),
    )


def word(text: str, where: str) -> str:
    """One word of the configuration, whatever is in it."""
    if not text or not text.isascii() or not text.isprintable() or len(text) > 1024:
        raise Wrong(f"{where}: {text[:40]!r} cannot be said to HAProxy", "use printable characters")
    return "".join(f"\\{each}" if each in " \\#\"'" else each for each in text)
