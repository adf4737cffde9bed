"""Links of hosts: which server holds which host, and what a host said about itself when it came."""

import hashlib
from dataclasses import dataclass

import msgspec
import sqlalchemy as sa

from sysvm.basics.errors import Refused, Why
from sysvm.ca.authority import DAY_S
from sysvm.store import tables
from sysvm.store.queries import (
    alerts,
    brakes,
    events,
    placements,
    pool_images,
    settings,
    system_templates,
    turns,
)
from sysvm.store.queries.alerts import AlertType
from sysvm.store.queries.events import About
from sysvm.store.store import Row, Tx
from sysvm.wire.link import HostFacts, HostHello

EXPIRED_GRACE_S = 30 * 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Linked:
    """What the hub needs to know of a host that has come."""

    host_id: int
    cloud: str
    epoch: int
    connected: float  # tells this link of the host from its others


def token_hash(token: str) -> str:
    """How a one-time token is kept."""
    return hashlib.sha256(token.encode()).hexdigest()


def _host(tx: Tx, uuid: str) -> Row:
    found = tx.rows(tables.host, "uuid = :uuid and removed is null", uuid=uuid)
    if not found:
        raise Refused(f"host {uuid} is not a host of this cloud")
    return found[0]


def _about(host: Row) -> About:
    return About("Host", host.id, host.uuid, host.name)


def link_up(tx: Tx, hello: HostHello, session: str, serial: str | None) -> Linked:
    """The host's link is held by `session` from now on; everything on it is looked at again."""
    ((cloud_id, cloud, epoch),) = tx.sql("select id, uuid, epoch from cloud")
    if hello.cloud and hello.cloud != cloud:
        raise Refused(f"this is cloud {cloud}, not {hello.cloud}")
    host = _host(tx, hello.host)
    if serial is not None and _is_revoked(tx, serial):
        raise Refused("this certificate has been revoked", Why.NOT_ALLOWED)
    if hello.epoch > epoch:
        tx.update(tables.cloud, cloud_id, read_only=True)
        alerts.raise_alert(
            tx,
            AlertType.MANAGEMENT_SERVER,
            f"Host {host.name} has obeyed epoch {hello.epoch}, this database is of epoch {epoch}: it was rolled "
            "back. Nothing is changed on hosts until `sysvm recover` has been run",
        )
    facts = hello.facts
    was_up = host.state == "Up"
    booted = host.booted if hello.boot == host.boot_id else tx.now
    tx.update(
        tables.host,
        host.id,
        link_session=session,
        link_epoch=epoch,
        boot_id=hello.boot,
        booted=booted,
        version=hello.version,
        facts=msgspec.to_builtins(facts),
        cpus=facts.cpus,
        cpu_mhz=facts.cpu_mhz,
        memory_bytes=facts.memory_bytes,
        state="Up",
        why="",
        connected=tx.now,
        disconnected=None,
        last_seen=tx.now,
    )
    placements.recount(tx, host.id)
    system_templates.ensure_reported(tx, host, facts.templates, facts.hypervisors)
    if "Simulator" not in facts.hypervisors:
        pool_images.reported(tx, host.id, (*facts.templates, *facts.registered))
    system_templates.bring(tx, host.zone_id, host.id)
    if not was_up:
        events.record(tx, "HOST.RECONNECT", f"Host {host.name} is connected", about=_about(host))
        alerts.resolve(tx, AlertType.HOST, zone=host.zone_id, subject=f"Host {host.name} is unreachable")
    turns.wish(tx, "host", host.id, host=host.id)
    turns.wish(tx, "sweep", host.id, host=host.id)
    turns.wish(tx, "zone", host.zone_id)
    stir_placements(tx, host.id)
    return Linked(host.id, cloud, epoch, tx.now)


def link_down(tx: Tx, host_id: int, connected: float) -> None:
    """The link that began at `connected` is gone. That proves nothing about the machines on the host."""
    host = tx.get(tables.host, host_id)
    if host is None or host.connected != connected:
        return
    if host.removed is not None:
        tx.update(tables.host, host_id, link_session=None)
        turns.forget(tx, "host", host_id)
        return
    tx.update(
        tables.host,
        host_id,
        link_session=None,
        state="Disconnected",
        disconnected=tx.now,
        why="its link ended; what runs there is unknown and is left alone",
    )
    events.record(tx, "HOST.DISCONNECT", f"Host {host.name} is disconnected", about=_about(host), level="WARN")
    turns.wish(tx, "zone", host.zone_id)


UNREACHABLE_AFTER_S = 60.0


def alert_unreachable(tx: Tx) -> None:
    """Hosts whose link has been gone for a minute (with it, or with the server that held it), each said once: nothing on
    them is touched, somebody has to look. Where they are many, the alert about the zone's brake tells of all."""
    late = tx.rows(
        tables.host,
        "link_session is null and state in ('Disconnected', 'Up') and disconnected < :late and removed is null",
        late=tx.now - UNREACHABLE_AFTER_S,
    )
    for host in late:
        tx.update(tables.host, host.id, state="Alert")
    let_go = brakes.sweep(tx)
    untold = [host for zone in let_go for host in tx.rows(tables.host, AWAY_IN, zone=zone)]
    for host in {host.id: host for host in (*late, *untold)}.values():
        if not brakes.tells_of_hosts(tx, host.zone_id):
            _say_unreachable(tx, host)


AWAY_IN = "zone_id = :zone and state = 'Alert' and removed is null"


def _say_unreachable(tx: Tx, host: Row) -> None:
    alerts.raise_alert(
        tx,
        AlertType.HOST,
        f"Host {host.name} is unreachable",
        "Its link ended and has not come back. What runs there is unknown and is left alone. Look at the machine and "
        "at its host agent; if it is lost for good, deleteHost with forced=true lets its machines live elsewhere.",
        zone=host.zone_id,
        pod=host.pod_id,
        cluster=host.cluster_id,
    )


def stir_placements(tx: Tx, host_id: int) -> None:
    """Everything on this host is looked at again."""
    for (id_,) in tx.sql("select id from placement where host_id = :host and removed is null", host=host_id):
        turns.look_again(tx, "placement", id_)


# What turns.look_again does, of those that are found on the way: hosts have much to say.
STIR_PLACED = """
update turn set due = 0, stir = stir + 1 where kind = 'placement' and id in (
    select p.id from machine m join placement p on p.machine_id = m.id
    where m.uuid = :machine and p.host_id = :host and p.removed is null)
returning id
"""


def stir_machine(tx: Tx, host_id: int, machine: str) -> None:
    """Something about a machine (UUID) on this host has changed."""
    for (id_,) in tx.sql(STIR_PLACED, machine=machine, host=host_id):
        tx.wake("placement", id_)


# ---------------------------------------------------------------- certificates
def _is_revoked(tx: Tx, serial: str) -> bool:
    found = tx.sql("select revoked from host_certificate where serial = :serial", serial=serial)
    return not found or found[0][0] is not None


def redeem_token(tx: Tx, token: str) -> Row | None:
    """The host that a one-time token belongs to; the token is spent.

    None: it was spent before. Then the host's certificates are revoked, since two parties hold the token, and an alert
    tells so. (An answer, not an exception: an exception would undo the revocation.)
    """
    table = tables.host_token
    row = tx.one(sa.select(table).where(table.c.token_hash == token_hash(token)))
    if row is None or row.until < tx.now:
        raise Refused("this token is unknown or has expired; ask for a new one with addHost or reconnectHost")
    host = tx.get(tables.host, row.host_id)
    assert host is not None
    if row.redeemed is not None:
        _revoke_all(tx, host)
        return None
    tx.update(table, row.id, redeemed=tx.now)
    return host


def _revoke_all(tx: Tx, host: Row) -> None:
    revoked = sa.update(tables.host_certificate).where(tables.host_certificate.c.host_id == host.id)
    tx.change(revoked.values(revoked=tx.now))
    alerts.raise_alert(
        tx,
        AlertType.CA_CERT,
        f"The one-time token of host {host.name} was used twice: its certificates are revoked. Find out who has it, "
        "then reconnect the host with a new token",
        zone=host.zone_id,
    )


def add_certificate(tx: Tx, host_id: int, serial: str, fingerprint: str, not_after: float) -> None:
    """A certificate was issued."""
    tx.insert(
        tables.host_certificate,
        host_id=host_id,
        serial=serial,
        key_fingerprint=fingerprint,
        not_after=not_after,
        created=tx.now,
    )


def host_of_key(tx: Tx, fingerprint: str) -> Row:
    """The host whose certificate, alive or expired for less than 30 days, has this key."""
    table = tables.host_certificate
    row = tx.one(sa.select(table).where(table.c.key_fingerprint == fingerprint).order_by(table.c.id.desc()))
    if row is None or row.revoked is not None or row.not_after + EXPIRED_GRACE_S < tx.now:
        raise Refused("this key has no certificate that could be renewed; join again with a new token")
    host = tx.get(tables.host, row.host_id)
    if host is None or host.removed is not None:
        raise Refused("this host has been removed")
    return host


def facts_of(host: Row) -> HostFacts | None:
    """What the host said about itself, or None before its first link."""
    return msgspec.convert(host.facts, HostFacts) if host.facts else None


def is_renewal_due(tx: Tx, host: Row) -> bool:
    """Whether the host shall ask for a new certificate now."""
    if host.renew_after is None:
        return False
    given = tx.sql("select max(created) from host_certificate where host_id = :host and revoked is null", host=host.id)
    return float(given[0][0] or 0.0) < float(host.renew_after)


def validity_s(tx: Tx, host_id: int) -> float:
    """For how long a new certificate of the host is good."""
    host = tx.get(tables.host, host_id)
    cluster = host.cluster_id if host is not None else None
    return int(settings.value(tx, "ca.framework.cert.validity.period", cluster_id=cluster)) * DAY_S
