"""Hosts: their rows with names and what is allocated on them, first contact, and moving their machines away.

A host that is added has no link yet: its row waits in state Connecting until an agent comes with the one-time token.
The orchestrator's "host" turns do the rest; here only rows and wishes change.
"""

import hashlib
import ssl
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries import links, turns
from sysvm.store.queries.keys import AUTHORITY
from sysvm.store.store import Row, Tx

TOKEN_TTL_S = 3600.0
SYSTEM_KINDS = {"consoleproxy": "ConsoleProxy", "secstorage": "SecondaryStorageVM"}


def listing() -> sa.Select[Any]:
    """Hosts with zone, pod and cluster, and the CPU (MHz) and memory (MB) promised to machines there."""
    host, zone, pod, cluster = tables.host, tables.zone, tables.pod, tables.cluster
    machine, offering = tables.machine, tables.service_offering
    cpus = sa.func.coalesce(machine.c.cpus, offering.c.cpus, 1)
    mhz = sa.func.coalesce(machine.c.cpu_mhz, offering.c.cpu_mhz, 0)
    memory = sa.func.coalesce(machine.c.memory_mb, offering.c.memory_mb, 0)

    def promised(amount: Any) -> Any:
        return (
            sa.select(sa.func.coalesce(sa.func.sum(amount), 0))
            .select_from(machine.join(offering, offering.c.id == machine.c.service_offering_id))
            .where(machine.c.host_id == host.c.id, machine.c.removed.is_(None), machine.c.wanted == "running")
            .correlate(host)
            .scalar_subquery()
        )

    return (
        sa.select(
            host,
            zone.c.uuid.label("zone_uuid"),
            zone.c.name.label("zone_name"),
            pod.c.uuid.label("pod_uuid"),
            pod.c.name.label("pod_name"),
            cluster.c.uuid.label("cluster_uuid"),
            cluster.c.name.label("cluster_name"),
            cluster.c.cluster_type,
            promised(cpus * mhz).label("mhz_taken"),
            promised(memory).label("mb_taken"),
        )
        .join(zone, zone.c.id == host.c.zone_id)
        .join(pod, pod.c.id == host.c.pod_id)
        .join(cluster, cluster.c.id == host.c.cluster_id)
        .where(host.c.removed.is_(None))
        .order_by(host.c.id)
    )


def system_vms() -> sa.Select[Any]:
    """System VMs whose agent is up: they are hosts, too, in the eyes of clients."""
    machine, zone, host, pod = tables.machine, tables.zone, tables.host, tables.pod
    return (
        sa.select(
            machine,
            zone.c.uuid.label("zone_uuid"),
            zone.c.name.label("zone_name"),
            pod.c.uuid.label("pod_uuid"),
            pod.c.name.label("pod_name"),
        )
        .join(zone, zone.c.id == machine.c.zone_id)
        .outerjoin(host, host.c.id == machine.c.host_id)
        .outerjoin(pod, pod.c.id == host.c.pod_id)
        .where(machine.c.kind.in_(SYSTEM_KINDS), machine.c.agent_up.is_(True), machine.c.removed.is_(None))
        .order_by(machine.c.id)
    )


def at_address(tx: Tx, address: str, port: int | None) -> Row | None:
    """The living host that was added with this address, or calls itself so."""
    host = tables.host
    written = address if port is None else f"{address}:{port}"
    same = sa.or_(host.c.address == written, host.c.address == address, sa.func.lower(host.c.name) == address.lower())
    return tx.one(sa.select(host).where(same, host.c.removed.is_(None)))


def issue_token(tx: Tx, host_id: int, token: str) -> None:
    """The token buys the host its first certificate within an hour; the ones before it no longer do."""
    book = tables.host_token
    tx.change(sa.update(book).where(book.c.host_id == host_id, book.c.redeemed.is_(None)).values(until=tx.now))
    tx.insert(book, host_id=host_id, token_hash=links.token_hash(token), until=tx.now + TOKEN_TTL_S)


def machines_on(tx: Tx, host_id: int) -> Sequence[Row]:
    """Machines with anything on the host: where they are, shall be, or once were and are not cleared away yet."""
    machine, placement = tables.machine, tables.placement
    placed = sa.select(placement.c.machine_id).where(placement.c.host_id == host_id, placement.c.removed.is_(None))
    there = sa.or_(machine.c.host_id == host_id, machine.c.wanted_host_id == host_id, machine.c.id.in_(placed))
    return tx.all(sa.select(machine).where(there, machine.c.removed.is_(None)).order_by(machine.c.id))


def forget(tx: Tx, host: Row) -> None:
    """The host is no longer of this cloud: its certificates and tokens are worth nothing. Its link, if it has one, is
    ended by its last turn."""
    tx.update(tables.host, host.id, removed=tx.now, state="Removed", resource_state="Disabled")
    certificate, token = tables.host_certificate, tables.host_token
    unrevoked = sa.and_(certificate.c.host_id == host.id, certificate.c.revoked.is_(None))
    tx.change(sa.update(certificate).where(unrevoked).values(revoked=tx.now))
    tx.change(sa.update(token).where(token.c.host_id == host.id, token.c.until > tx.now).values(until=tx.now))
    if host.link_session is None:
        turns.forget(tx, "host", host.id)
    else:
        turns.wish(tx, "host", host.id, host=host.id)


def can(tx: Tx, zone_id: int, feature: str) -> bool | None:
    """Whether some host of the zone has a kernel feature; None while no host has told what it can."""
    host = tables.host
    facts = [row.facts for row in tx.all(sa.select(host.c.facts).where(host.c.zone_id == zone_id, host.c.removed.is_(None)))]
    told = [fact for fact in facts if fact]
    return any(feature in (fact.get("features") or ()) for fact in told) if told else None


def runs_any(tx: Tx, zone_id: int, hypervisors: Sequence[str]) -> bool | None:
    """Whether some host of the zone runs machines of one of these; None while no host has told."""
    host = tables.host
    rows = tx.all(sa.select(host.c.facts).where(host.c.zone_id == zone_id, host.c.removed.is_(None)))
    told = [row.facts for row in rows if row.facts]
    return any(set(hypervisors) & set(fact.get("hypervisors") or ()) for fact in told) if told else None


def servers(tx: Tx) -> list[str]:
    """Where the living management servers take the links of hosts."""
    session = tables.session
    found = tx.all(sa.select(session.c.address).where(session.c.until > tx.now).order_by(session.c.started))
    return [row.address for row in found if row.address] or ["localhost"]


def server_names(tx: Tx) -> dict[str, str]:
    """The server of each living session."""
    session = tables.session
    return {row.id: row.server_uuid for row in tx.all(sa.select(session.c.id, session.c.server_uuid))}


def ca_fingerprint(tx: Tx) -> str:
    """SHA-256 (hex) of the cloud's root certificate; empty before the first server has started."""
    book = tables.certificate
    pem = tx.value(sa.select(book.c.pem).where(book.c.name == AUTHORITY))
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest() if pem else ""


def pools_on(tx: Tx, host_id: int) -> Sequence[Row]:
    """Primary storage that is a directory of the host."""
    pool = tables.storage_pool
    return tx.all(sa.select(pool).where(pool.c.host_id == host_id, pool.c.removed.is_(None)).order_by(pool.c.id))


def tag_set(tags: str) -> frozenset[str]:
    """The tags of a row, which holds them comma separated."""
    return frozenset(tag for tag in tags.split(",") if tag)


def abandon(tx: Tx, host: Row) -> None:
    """An operator says that nothing runs on the host any more: that is the evidence by which its machines may live
    elsewhere."""
    placement, machine = tables.placement, tables.machine
    there = machines_on(tx, host.id)
    here = sa.and_(placement.c.host_id == host.id, placement.c.removed.is_(None))
    _raise_fences(tx, tx.all(sa.select(placement).where(here)))
    tx.change(sa.update(placement).where(here).values(power="absent", wanted="gone", agent_up=False, removed=tx.now))
    for row in there:
        changes: dict[str, Any] = {}
        if row.host_id == host.id:
            changes = {"host_id": None, "last_host_id": host.id, "power": "absent", "agent_up": False}
        if row.wanted_host_id == host.id:
            changes["wanted_host_id"] = None
        if changes:
            tx.update(machine, row.id, **changes)
        turns.wish(tx, "machine", row.id)


def _raise_fences(tx: Tx, placements: Sequence[Row]) -> None:
    """Whoever still works on them is late from now on."""
    for row in placements:
        fence = turns.forget(tx, "placement", row.id)
        tx.sql("update machine set fence = :fence where id = :id and fence < :fence", id=row.machine_id, fence=fence)


def stir_machines(tx: Tx, host_id: int) -> None:
    """Where the host's machines should be may be different now."""
    for row in machines_on(tx, host_id):
        turns.wish(tx, "machine", row.id)


def tags(tx: Tx) -> list[tuple[int, str]]:
    """Every tag of every host."""
    host = tables.host
    rows = tx.all(sa.select(host.c.id, host.c.tags).where(host.c.removed.is_(None), host.c.tags != "").order_by(host.c.id))
    return [(row.id, tag) for row in rows for tag in row.tags.split(",")]
