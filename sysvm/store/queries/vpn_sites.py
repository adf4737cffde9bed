"""Site-to-site VPNs: gateways of VPCs, customer gateways, connections; what a VPC's router is told and says of them.

A connection is what its router says it is. What it says of a connection that has been reset since is not believed: the
count of resets tells. One that is no more connected is an alert until it is again.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries import alerts, events, machines, owned
from sysvm.store.queries.alerts import AlertType
from sysvm.store.queries.events import About, Actor
from sysvm.store.queries.machines import machine_by_uuid
from sysvm.store.secrets import Vault
from sysvm.store.store import Row, Tx
from sysvm.store.tables import unpack_address
from sysvm.wire.vpn import Tunnel, TunnelSeen

PENDING, CONNECTING, CONNECTED, DISCONNECTED, ERROR = "Pending", "Connecting", "Connected", "Disconnected", "Error"
_DOWN = (DISCONNECTED, ERROR)


# ---------------------------------------------------------------- gateways
def gateways() -> sa.Select[Any]:
    """Living gateways of VPCs with the names around them."""
    gateway, vpc, ip = tables.vpn_gateway, tables.vpc, tables.public_ip
    return (
        owned.with_owner(gateway)
        .join(vpc, vpc.c.id == gateway.c.vpc_id)
        .join(ip, ip.c.id == gateway.c.public_ip_id)
        .add_columns(vpc.c.uuid.label("vpc_uuid"), vpc.c.name.label("vpc_name"), ip.c.address.label("ip_address"))
    )


def gateway(tx: Tx, gateway_id: int) -> Row | None:
    """A gateway with the names around it; None when it is no more."""
    return tx.one(gateways().where(tables.vpn_gateway.c.id == gateway_id))


def gateway_of(tx: Tx, vpc_id: int) -> Row | None:
    """The gateway of a VPC."""
    return next(iter(tx.rows(tables.vpn_gateway, "vpc_id = :vpc and removed is null", vpc=vpc_id)), None)


def customer(tx: Tx, customer_id: int) -> Row | None:
    """A customer gateway with the names around it; None when it is no more."""
    return tx.one(owned.with_owner(tables.vpn_customer_gateway).where(tables.vpn_customer_gateway.c.id == customer_id))


def customers_of(tx: Tx, account_id: int) -> Sequence[Row]:
    """The living customer gateways of an account."""
    return tx.rows(tables.vpn_customer_gateway, "account_id = :id and removed is null order by id", id=account_id)


# ---------------------------------------------------------------- connections
def connections() -> sa.Select[Any]:
    """Living connections with both gateways and the names around them."""
    connection, near, far = tables.vpn_connection, tables.vpn_gateway, tables.vpn_customer_gateway
    ip = tables.public_ip
    words = [column.label(f"far_{column.name}") for column in far.c if column.name not in _NOT_SHOWN]
    return (
        owned.with_owner(connection)
        .join(near, near.c.id == connection.c.gateway_id)
        .join(ip, ip.c.id == near.c.public_ip_id)
        .join(far, far.c.id == connection.c.customer_id)
        .add_columns(near.c.uuid.label("near_uuid"), near.c.vpc_id, ip.c.address.label("ip_address"), *words)
    )


_NOT_SHOWN = frozenset(("id", "account_id", "domain_id", "domain_path", "created", "removed"))


def connection(tx: Tx, connection_id: int) -> Row | None:
    """A connection with the names around it; None when it is no more."""
    return tx.one(connections().where(tables.vpn_connection.c.id == connection_id))


def of_gateway(tx: Tx, gateway_id: int) -> Sequence[Row]:
    """The living connections of a VPC's gateway."""
    return tx.all(connections().where(tables.vpn_connection.c.gateway_id == gateway_id).order_by(tables.vpn_connection.c.id))


def of_customer(tx: Tx, customer_id: int) -> Sequence[Row]:
    """The living connections of a customer gateway."""
    table = tables.vpn_connection
    return tx.all(connections().where(table.c.customer_id == customer_id).order_by(table.c.id))


def of_vpc(tx: Tx, vpc_id: int) -> Sequence[Row]:
    """The living connections of a VPC."""
    return tx.all(connections().where(tables.vpn_gateway.c.vpc_id == vpc_id).order_by(tables.vpn_connection.c.id))


def begin_anew(tx: Tx, row: Row) -> None:
    """The router shall end the connection and begin it again."""
    tx.update(tables.vpn_connection, row.id, resets=row.resets + 1, state=PENDING, note="")


def set_told(tx: Tx, row: Row) -> None:
    """The router has it; what it has said of it already counts more."""
    if row.state == PENDING:
        tx.update(tables.vpn_connection, row.id, state=DISCONNECTED if row.passive else CONNECTING)


def remove_connection(tx: Tx, row: Row) -> None:
    """The connection is no more; nobody need look after it."""
    tx.update(tables.vpn_connection, row.id, removed=tx.now)
    _quiet(tx, row)


def remove_of_vpc(tx: Tx, vpc_id: int) -> None:
    """The VPC goes, and its gateway with all connections."""
    for row in of_vpc(tx, vpc_id):
        remove_connection(tx, row)
    near = gateway_of(tx, vpc_id)
    if near is not None:
        tx.update(tables.vpn_gateway, near.id, removed=tx.now)


def remove_customers(tx: Tx, account_id: int) -> None:
    """The account goes, and its customer gateways."""
    for row in customers_of(tx, account_id):
        tx.update(tables.vpn_customer_gateway, row.id, removed=tx.now, preshared_key="")


# ---------------------------------------------------------------- the router
def facts(tx: Tx, vpc: Row, vault: Vault) -> tuple[Tunnel, ...]:
    """The tunnels of a VPC's router."""
    return tuple(
        Tunnel(
            connection=row.uuid,
            local=unpack_address(row.ip_address),
            remote=row.far_gateway,
            preshared_key=vault.open(row.far_preshared_key),
            local_networks=(vpc.cidr,),
            remote_networks=tuple(row.far_cidrs or ()),
            ike_policy=row.far_ike_policy,
            esp_policy=row.far_esp_policy,
            ike_version=row.far_ike_version,
            ike_lifetime_s=row.far_ike_lifetime,
            esp_lifetime_s=row.far_esp_lifetime,
            dpd=row.far_dpd,
            split=row.far_split,
            passive=row.passive,
            resets=row.resets,
        )
        for row in of_vpc(tx, vpc.id)
    )


def heard(tx: Tx, router: str, seen: Sequence[TunnelSeen]) -> None:
    """What a router says of its tunnels; of others than its VPC's it has nothing to say."""
    machine = machine_by_uuid(tx, router)
    if machine is None or machine.vpc_id is None:
        return
    said = {(each.connection, each.resets): each for each in seen}
    for row in of_vpc(tx, machine.vpc_id):
        now = said.get((row.uuid, row.resets))
        if now is None or (now.state, now.why) == (row.state, row.note):
            continue
        tx.update(tables.vpn_connection, row.id, state=str(now.state), note=now.why)
        if now.state != row.state:
            _tell(tx, machine, row, now)


def _tell(tx: Tx, router: Row, row: Row, now: TunnelSeen) -> None:
    """An event for each change; an alert for what was not connected or is so again."""
    text = f"{_title(row)} just switched from {row.state} to {now.state}"
    if now.why:
        text += f": {now.why}"
    actor = Actor(1, row.account_id, row.domain_id, row.domain_path)
    about = About("VpnConnection", row.id, row.uuid, row.far_name)
    bad = now.state in _DOWN and row.state != PENDING
    events.record(tx, "VPN.S2S.CONNECTION.UPDATE", text, actor=actor, about=about, level="WARN" if bad else "INFO")
    content = f"{text} (on router {router.name})"
    if bad:
        alerts.raise_alert(tx, AlertType.DOMAIN_ROUTER, text, content, zone=router.zone_id)
    elif now.state == CONNECTED:
        if row.state in _DOWN:
            alerts.raise_alert(tx, AlertType.DOMAIN_ROUTER, text, content, zone=router.zone_id)
        _quiet(tx, row)


def _quiet(tx: Tx, row: Row) -> None:
    """No alert about the connection stands any more."""
    table = tables.alert
    mine = table.c.subject.startswith(f"{_title(row)} ", autoescape=True)
    standing = (table.c.type == int(AlertType.DOMAIN_ROUTER), table.c.resolved.is_(None), mine)
    tx.change(sa.update(table).where(*standing).values(resolved=tx.now))


def _title(row: Row) -> str:
    return f"Site-to-site Vpn Connection {row.uuid} to {row.far_name}"


def has_router(tx: Tx, vpc_ids: Sequence[int]) -> set[int]:
    """Those of the VPCs that have a router which runs: nobody else can say that something is connected."""
    table = tables.machine
    here = (table.c.vpc_id.in_(list(vpc_ids)), table.c.kind == "router", table.c.removed.is_(None))
    return {row.vpc_id for row in tx.all(sa.select(table.c.vpc_id).where(*here, table.c.power == "running"))}


def need_reachable_router(tx: Tx, vpc_id: int) -> None:
    """As for rules: raises Refused when the VPC's router cannot be told anything."""
    machines.need_reachable(tx, tx.rows(tables.machine, "kind = 'router' and vpc_id = :vpc and removed is null", vpc=vpc_id))
