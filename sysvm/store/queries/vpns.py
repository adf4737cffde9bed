"""Remote access VPNs and their users; the secrets of both are opened for the router's document alone."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries import machines, owned, rules, vpcs
from sysvm.store.queries.jobs import Part
from sysvm.store.secrets import Vault
from sysvm.store.store import Row, Tx
from sysvm.store.tables import unpack_address
from sysvm.wire.vpn import RemoteAccess, VpnUser

PURPOSE = "Vpn"


def statement() -> sa.Select[Any]:
    """Living VPNs with their owner, address and network."""
    vpn, ip, network = tables.remote_access_vpn, tables.public_ip, tables.network
    return (
        owned.with_owner(vpn)
        .join(ip, ip.c.id == vpn.c.public_ip_id)
        .outerjoin(network, network.c.id == vpn.c.network_id)
        .add_columns(ip.c.uuid.label("ip_uuid"), ip.c.address.label("ip_address"))
    )


def one(tx: Tx, vpn_id: int) -> Row | None:
    """A VPN with the names around it; None when it is no more."""
    return tx.one(statement().where(tables.remote_access_vpn.c.id == vpn_id))


def of_address(tx: Tx, public_ip_id: int) -> Row | None:
    """The VPN on an address."""
    return next(iter(tx.rows(tables.remote_access_vpn, "public_ip_id = :ip and removed is null", ip=public_ip_id)), None)


def of_network(tx: Tx, network_id: int) -> Row | None:
    """The VPN of a network: a router has one at most, on its source NAT address."""
    return next(iter(tx.rows(tables.remote_access_vpn, "network_id = :id and removed is null", id=network_id)), None)


def of_vpc(tx: Tx, vpc_id: int) -> Row | None:
    """The VPN of a VPC, on its source NAT address."""
    return next(iter(tx.rows(tables.remote_access_vpn, "vpc_id = :id and removed is null", id=vpc_id)), None)


def routers_of(tx: Tx, vpn: Row) -> Sequence[Row]:
    """Who serves it."""
    if vpn.vpc_id is not None:
        return vpcs.routers_of(tx, vpn.vpc_id)
    return machines.routers_of(tx, vpn.network_id)


def wish_documents(tx: Tx, vpn: Row) -> tuple[Part, ...]:
    """Those who serve it are told."""
    running = (router for router in routers_of(tx, vpn) if router.wanted == "running")
    return tuple(machines.wish_document(tx, router.id) for router in running)


def users_of(tx: Tx, account_id: int) -> list[Row]:
    """Who may log in to the VPNs of an account."""
    return tx.rows(tables.vpn_user, "account_id = :account and removed is null order by id", account=account_id)


def user(tx: Tx, user_id: int) -> Row | None:
    """A user with the names around it; None when it is no more."""
    return tx.one(owned.with_owner(tables.vpn_user).where(tables.vpn_user.c.id == user_id))


def set_running(tx: Tx, vpn: Row) -> None:
    """Its routers serve it, at ports that are its own."""
    tx.update(tables.remote_access_vpn, vpn.id, state="Running")
    for rule in rules.of_address(tx, vpn.public_ip_id, PURPOSE):
        rules.set_active(tx, rule.id)


def wish_routers(tx: Tx, account_id: int) -> tuple[Part, ...]:
    """The users of an account are others now: every router with a VPN of the account is told."""
    found = tx.rows(tables.remote_access_vpn, "account_id = :id and removed is null order by id", id=account_id)
    return tuple(part for vpn in found for part in wish_documents(tx, vpn))


def remove(tx: Tx, vpn: Row) -> None:
    """The VPN is no more; its ports are free, and closed if they were opened with it."""
    rules.remove_of_address(tx, vpn.public_ip_id, PURPOSE)
    tx.update(tables.remote_access_vpn, vpn.id, removed=tx.now, preshared_key="")


def remove_user(tx: Tx, row: Row) -> None:
    """The user cannot log in any more."""
    tx.update(tables.vpn_user, row.id, removed=tx.now, password="")


def remove_users(tx: Tx, account_id: int) -> None:
    """Nobody of the account can log in any more."""
    for row in users_of(tx, account_id):
        remove_user(tx, row)


def facts(tx: Tx, network: Row, vault: Vault) -> RemoteAccess | None:
    """The VPN of a router on this network, with everybody who may log in."""
    vpn = of_network(tx, network.id)
    return _facts(tx, vpn, vault, network.cidr, (network.gateway,)) if vpn is not None else None


def facts_of_vpc(tx: Tx, vpc: Row, vault: Vault, dns: tuple[str, ...]) -> RemoteAccess | None:
    """The VPN of a VPC's router: who logs in reaches all tiers, and asks for names at `dns`."""
    vpn = of_vpc(tx, vpc.id)
    return _facts(tx, vpn, vault, vpc.cidr, dns) if vpn is not None else None


def _facts(tx: Tx, vpn: Row, vault: Vault, cidr: str, dns: tuple[str, ...]) -> RemoteAccess:
    ip = tx.get(tables.public_ip, vpn.public_ip_id)
    assert ip is not None
    return RemoteAccess(
        public=unpack_address(ip.address),
        preshared_key=vault.open(vpn.preshared_key),
        first=unpack_address(vpn.first),
        last=unpack_address(vpn.last),
        networks=(cidr,),
        dns=dns,
        users=tuple(VpnUser(name=row.name, password=vault.open(row.password)) for row in users_of(tx, vpn.account_id)),
    )
