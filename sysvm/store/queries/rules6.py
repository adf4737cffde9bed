"""IPv6 firewall rules: of networks, not of addresses; for both directions."""

from collections.abc import Iterable

import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.store import Row, Tx
from sysvm.wire.documents import Ports, Protocol, Rule6

PURPOSE = "Firewall6"
INGRESS, EGRESS = "Ingress", "Egress"


def of_network(tx: Tx, network_id: int, traffic_type: str) -> list[Row]:
    """Living rules of one direction."""
    rule = tables.firewall_rule
    of = (rule.c.network_id == network_id, rule.c.purpose == PURPOSE, rule.c.traffic_type == traffic_type)
    return list(tx.all(sa.select(rule).where(*of, rule.c.removed.is_(None)).order_by(rule.c.id)))


def facts(rows: Iterable[Row], traffic_type: str) -> tuple[Rule6, ...]:
    """What routers are told."""
    return tuple(
        Rule6(
            rule=row.uuid,
            protocol=Protocol(row.protocol),
            sources=tuple(row.sources or ()),
            destinations=tuple(row.destinations or ()),
            ports=None if row.first_port is None else Ports(row.first_port, row.last_port or row.first_port),
            icmp_type=row.icmp_type,
            icmp_code=row.icmp_code,
        )
        for row in rows
        if row.traffic_type == traffic_type
    )
