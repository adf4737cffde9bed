"""The load balancer's part of a router's document, and what a router says about the members.

A rule listens on one port of a public address. Its members are guest addresses; they come and go without the rule being
made anew. `Certificate` is what TLS servers of all system VMs show.
"""

from enum import StrEnum

import msgspec


class Certificate(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A server certificate with its chain (leaf first) and its PKCS#8 key, PEM."""

    chain: str
    key: str


class Algorithm(StrEnum):
    """Which member the next connection goes to."""

    ROUND_ROBIN = "roundrobin"
    LEAST_CONNECTIONS = "leastconn"
    SOURCE = "source"


class Carried(StrEnum):
    """What a rule does with a connection besides carrying it."""

    TCP = "tcp"
    TCP_PROXY = "tcp-proxy"  # tells the member who the client is (PROXY protocol)
    SSL = "ssl"  # ends TLS


class StickyBy(StrEnum):
    """How a client is known again."""

    LB_COOKIE = "LbCookie"
    APP_COOKIE = "AppCookie"
    SOURCE = "SourceBased"


class Stickiness(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A client stays with its member. Parameters as the API has them; flags are "true"."""

    method: StickyBy
    params: dict[str, str] = {}


class HealthCheck(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A member is asked for `path`; anything but 2xx and 3xx within `response_s` is a failure."""

    path: str
    response_s: int
    interval_s: int
    healthy: int  # successes in a row that bring a member back
    unhealthy: int  # failures in a row that take it out


class LoadBalancer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One rule. A rule that ends TLS and has no certificate yet is not served."""

    rule: str
    public: str
    port: int
    private_port: int
    algorithm: Algorithm
    protocol: Carried = Carried.TCP
    keep_alive: bool = False  # HTTP: several requests over one connection
    sources: tuple[str, ...] = ()  # CIDRs that are served; empty: all
    members: tuple[str, ...] = ()  # addresses of guests
    stickiness: Stickiness | None = None
    health_check: HealthCheck | None = None
    certificate: Certificate | None = None


class StatisticsPage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where the load balancer's own page is shown. Without a port: on every rule that speaks HTTP."""

    addresses: tuple[str, ...] = ()
    port: int | None = None
    uri: str = "/admin?stats"
    user: str = ""
    password: str = ""


class Balancing(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The load balancer of a router."""

    rules: tuple[LoadBalancer, ...]
    max_connections: int = 4096
    statistics: StatisticsPage | None = None


class MemberSeen(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A member of a rule, as the load balancer's checks see it."""

    rule: str
    address: str
    up: bool
