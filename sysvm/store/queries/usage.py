"""Usage: what routers' counters say becomes bytes per public address and period, owned by whoever has the network.

A counter is believed as a whole number since its network stack was made (`life`), so a report that is lost, told twice or
late changes nothing: only what it has grown by since the last one counts. What a router has forwarded between its last
report and the loss of its machine is not known to anybody.
"""

from sysvm.store import tables
from sysvm.store.queries import settings, vpcs
from sysvm.store.queries.machines import machine_by_uuid
from sysvm.store.store import Row, Tx
from sysvm.store.tables import pack_address
from sysvm.wire.channel import TrafficReport

SENT, RECEIVED = 4, 5
WORDS = {SENT: "sent", RECEIVED: "received"}


def metered(tx: Tx, machine: str, report: TrafficReport) -> None:
    """Counts what has been forwarded since the last report."""
    router = machine_by_uuid(tx, machine)
    held = {bytes(ip.address): (ip, network) for ip, network in _addresses(tx, router)} if router is not None else {}
    for counter in report.counters:
        ip, network = held.get(pack_address(counter.address), (None, None))
        if ip is not None and network is not None:
            sent, received = _growth(tx, network, ip, report.life, counter.sent, counter.received)
            _count(tx, network, ip, SENT, sent)
            _count(tx, network, ip, RECEIVED, received)


def _addresses(tx: Tx, router: Row) -> list[tuple[Row, Row | None]]:
    """The router's public addresses, each with the network that its traffic is counted for: of a VPC's the tier that it
    serves, else its oldest one."""
    if router.vpc_id is None:
        network = tx.get(tables.network, router.network_id) if router.network_id is not None else None
        found = tx.rows(tables.public_ip, "network_id = :network", network=router.network_id) if network is not None else ()
        return [(ip, network) for ip in found]
    tiers = {tier.id: tier for tier in vpcs.tiers_of(tx, router.vpc_id)}
    oldest = next(iter(tiers.values()), None)
    return [(ip, tiers.get(ip.network_id, oldest)) for ip in vpcs.addresses_of(tx, router.vpc_id)]


def _growth(tx: Tx, network: Row, ip: Row, life: str, sent: int, received: int) -> tuple[int, int]:
    table = tables.traffic_counter
    said = tx.rows(table, "public_ip_id = :ip order by updated desc, id desc", ip=ip.id)
    mine = next((row for row in said if row.network_id == network.id), None)
    now = {"life": life, "sent": sent, "received": received, "updated": tx.now}
    if mine is None:
        tx.insert(table, network_id=network.id, public_ip_id=ip.id, **now)
    else:
        tx.update(table, mine.id, **now)
    if not said or said[0].life != life:
        return sent, received
    known = said[0]  # in a VPC perhaps of another tier: the counter is the address's
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
