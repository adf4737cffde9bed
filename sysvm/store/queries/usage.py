"""Usage: what routers' counters say becomes bytes per public address and period, owned by whoever has the network.

A counter is believed as a whole number since its network stack was made (`life`), so a report that is lost, told twice or
late changes nothing: only what it has grown by since the last one counts. What a router has forwarded between its last
report and the loss of its machine is not known to anybody.
"""

import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries import settings
from sysvm.store.queries.machines import machine_by_uuid
from sysvm.store.store import Row, Tx
from sysvm.store.tables import pack_address
from sysvm.wire.channel import TrafficReport

SENT, RECEIVED = 4, 5
WORDS = {SENT: "sent", RECEIVED: "received"}


def metered(tx: Tx, machine: str, report: TrafficReport) -> None:
    """Counts what has been forwarded since the last report."""
    router = machine_by_uuid(tx, machine)
    network = tx.get(tables.network, router.network_id) if router is not None and router.network_id is not None else None
    if network is None:
        return
    held = {bytes(row.address): row for row in tx.rows(tables.public_ip, "network_id = :network", network=network.id)}
    for counter in report.counters:
        ip = held.get(pack_address(counter.address))
        if ip is not None:
            sent, received = _growth(tx, network, ip, report.life, counter.sent, counter.received)
            _count(tx, network, ip, SENT, sent)
            _count(tx, network, ip, RECEIVED, received)


def _growth(tx: Tx, network: Row, ip: Row, life: str, sent: int, received: int) -> tuple[int, int]:
    table = tables.traffic_counter
    known = tx.one(sa.select(table).where(table.c.network_id == network.id, table.c.public_ip_id == ip.id))
    now = {"life": life, "sent": sent, "received": received, "updated": tx.now}
    if known is None:
        tx.insert(table, network_id=network.id, public_ip_id=ip.id, **now)
        return sent, received
    tx.update(table, known.id, **now)
    if known.life != life:
        return sent, received
    # A counter that has shrunk was made anew by hand; what it says is since then.
    return sent - known.sent if sent >= known.sent else sent, (
        received - known.received if received >= known.received else received
    )


def _count(tx: Tx, network: Row, ip: Row, usage_type: int, amount: int) -> None:
    if not amount:
        return
    period = float(settings.value(tx, "usage.stats.job.aggregation.range")) * 60
    began = tx.now - tx.now % period
    grown = tx.sql(
        "update usage_interval set amount = amount + :amount where resource_uuid = :uuid and usage_type = :type"
        " and began = :began and account_id = :account returning id",
        amount=amount, uuid=ip.uuid, type=usage_type, began=began, account=network.account_id,
    )  # fmt: skip
    if not grown:
        tx.insert(
            tables.usage_interval, usage_type=usage_type, zone_id=network.zone_id, resource_uuid=ip.uuid, amount=amount,
            description=f"network {network.name}, public address {tables.unpack_address(ip.address)}",
            details={"network": network.uuid, "sourcenat": bool(ip.source_nat)}, began=began, ended=began + period,
            account_id=network.account_id, domain_id=network.domain_id, domain_path=network.domain_path,
        )  # fmt: skip


def totals(tx: Tx) -> list[tuple[str, str, int, int]]:
    """(network, address, bytes sent, bytes received) of all that was ever counted and is not removed."""
    return [
        (network, tables.unpack_address(address), int(sent or 0), int(received or 0))
        for network, address, sent, received in tx.sql(TOTALS)
    ]


TOTALS = """
select network.uuid, public_ip.address,
  sum(case when usage_interval.usage_type = 4 then usage_interval.amount else 0 end),
  sum(case when usage_interval.usage_type = 5 then usage_interval.amount else 0 end)
from traffic_counter
join network on network.id = traffic_counter.network_id
join public_ip on public_ip.id = traffic_counter.public_ip_id
join usage_interval on usage_interval.resource_uuid = public_ip.uuid and usage_interval.account_id = network.account_id
where network.removed is null and public_ip.network_id = network.id
group by network.uuid, public_ip.address order by network.uuid, public_ip.address
"""
