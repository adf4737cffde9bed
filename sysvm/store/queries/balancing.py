"""From rows to the facts about a router's load balancer. Keys are opened here, for the document alone."""

from collections.abc import Iterable, Mapping, Sequence

from sysvm.store import tables
from sysvm.store.queries import load_balancers, settings
from sysvm.store.secrets import Vault
from sysvm.store.store import Row, Tx
from sysvm.store.tables import unpack_address
from sysvm.systemvms.load_balancer import BalancerFacts, PageFacts
from sysvm.wire.balancing import Algorithm, Carried, Certificate, HealthCheck, LoadBalancer, Stickiness, StickyBy

VISIBILITY = "network.loadbalancer.haproxy.stats.visibility"
PORT = "network.loadbalancer.haproxy.stats.port"
URI = "network.loadbalancer.haproxy.stats.uri"
AUTH = "network.loadbalancer.haproxy.stats.auth"
CONNECTIONS = "network.loadbalancer.haproxy.max.conn"


def facts(
    tx: Tx, network: Row, vault: Vault, *, public: str | None, guest: str | None, control: str | None
) -> BalancerFacts | None:
    """What the network's rules are, and where the statistics page may be; None where there is no rule."""
    return of_rules(tx, network, load_balancers.of_network(tx, network.id), vault, public=public, guest=guest, control=control)


def of_rules(
    tx: Tx, network: Row, rows: Sequence[Row], vault: Vault, *, public: str | None, guest: str | None, control: str | None
) -> BalancerFacts | None:
    """The same of some of the network's rules."""
    if not rows:
        return None
    offering = tx.get(tables.network_offering, network.offering_id)
    assert offering is not None
    keep_alive = (offering.details or {}).get("keepaliveenabled") == "true"
    page = PageFacts(
        visibility=settings.value(tx, VISIBILITY),
        port=int(settings.value(tx, PORT)),
        uri=settings.value(tx, URI),
        auth=settings.value(tx, AUTH, vault=vault),
        public=public,
        guest=guest,
        control=control,
    )
    return BalancerFacts(
        rules=_rules(tx, rows, vault, keep_alive=keep_alive),
        max_connections=int(offering.max_connections or settings.value(tx, CONNECTIONS)),
        page=page,
    )


def _rules(tx: Tx, rows: Sequence[Row], vault: Vault, *, keep_alive: bool) -> tuple[LoadBalancer, ...]:
    ids = [row.id for row in rows]
    members = _by_rule(load_balancers.members(tx, ids))
    sticky = _by_rule(load_balancers.policies(tx, tables.lb_stickiness, ids))
    checks = _by_rule(load_balancers.policies(tx, tables.lb_health_check, ids))
    certificates = load_balancers.certificates(tx, (row.certificate_id for row in rows))
    return tuple(
        LoadBalancer(
            rule=row.uuid,
            public=unpack_address(row.ip_address),
            port=row.first_port,
            private_port=row.private_first_port,
            algorithm=Algorithm(row.algorithm),
            protocol=Carried(row.carried),
            keep_alive=keep_alive,
            sources=tuple(row.sources or ()),
            members=tuple(load_balancers.address_of(each) for each in members.get(row.id, ())),
            stickiness=_stickiness(sticky.get(row.id, ())),
            health_check=_health_check(checks.get(row.id, ())),
            certificate=_certificate(certificates.get(row.certificate_id), vault),
        )
        for row in rows
    )


def _by_rule(rows: Iterable[Row]) -> Mapping[int, list[Row]]:
    found: dict[int, list[Row]] = {}
    for row in rows:
        found.setdefault(row.rule_id, []).append(row)
    return found


def _stickiness(rows: Sequence[Row]) -> Stickiness | None:
    return Stickiness(method=StickyBy(rows[0].method), params=dict(rows[0].params or {})) if rows else None


def _health_check(rows: Sequence[Row]) -> HealthCheck | None:
    if not rows:
        return None
    (row, *_) = rows
    return HealthCheck(
        path=row.ping_path,
        response_s=row.response_s,
        interval_s=row.interval_s,
        healthy=row.healthy,
        unhealthy=row.unhealthy,
    )


def _certificate(row: Row | None, vault: Vault) -> Certificate | None:
    if row is None or not row.private_key:  # its account is going away, and its networks with it
        return None
    return Certificate(chain=f"{row.certificate}{row.chain}", key=vault.open(row.private_key))
