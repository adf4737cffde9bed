"""Console sessions: which proxy serves a guest, and the ticket that opens its screen once.

Only hashes of tickets are kept. A guest that had a proxy gets the same one again, whatever its load.
"""

import hashlib
from collections.abc import Sequence

from sysvm.basics.ids import Ids
from sysvm.store import tables
from sysvm.store.queries import certificates, fleets, machines, nics, settings
from sysvm.store.queries.events import Actor
from sysvm.store.store import Row, Tx
from sysvm.systemvms import consoleproxy
from sysvm.systemvms.consoleproxy import Emptying, Neighbour
from sysvm.wire.machines import Kind, Traffic

TICKET_S = 60.0
DRAIN_S = 15.0  # pages attach elsewhere within a second; one that does not is not waited for


def ticket_hash(ticket: str) -> str:
    """How a ticket is kept."""
    return hashlib.sha256(ticket.encode()).hexdigest()


def proxies_of(tx: Tx, zone_id: int) -> Sequence[Row]:
    """The zone's living console proxies."""
    return fleets.living(tx, zone_id, Kind.CONSOLE_PROXY)


def assign(tx: Tx, guest: Row) -> Row | None:
    """The proxy that shall serve this guest; it is remembered. None: there is none with room."""
    rows = {row.id: row for row in proxies_of(tx, guest.zone_id)}
    most = int(settings.value(tx, "consoleproxy.session.max", zone_id=guest.zone_id))
    first = settings.value(tx, "consoleproxy.assignment", zone_id=guest.zone_id) == "first"
    seen = fleets.members(tx, list(rows.values()))
    chosen = consoleproxy.assign(guest.console_proxy_id, seen, most, first=first)
    if chosen is None:
        return None
    tx.update(tables.machine, guest.id, console_proxy_id=chosen, console_assigned=tx.now)
    return rows[chosen]


def open_session(tx: Tx, ids: Ids, guest: Row, proxy: Row, actor: Actor, creator: str, extra: str) -> str:
    """A new ticket for this guest on this proxy, good for a minute and once."""
    ticket = ids.token(32)
    tx.insert(
        tables.console_session,
        uuid=ids.uuid(),
        machine_id=guest.id,
        proxy_id=proxy.id,
        host_id=guest.host_id,
        user_id=actor.user_id,
        ticket_hash=ticket_hash(ticket),
        ticket_until=tx.now + TICKET_S,
        creator_address=creator,
        extra_token_hash=ticket_hash(extra) if extra else "",
        account_id=actor.account_id,
        domain_id=actor.domain_id,
        domain_path=actor.domain_path,
        created=tx.now,
    )
    return ticket


def round_trip_ms(tx: Tx, proxy_id: int) -> float | None:
    """Between a proxy and the pages that look through it now: the mean of what they measured."""
    mean = "select avg(round_trip_us) from console_session where proxy_id = :proxy and ended is null"
    ((found,),) = tx.sql(mean, proxy=proxy_id)
    return round(float(found) / 1000, 1) if found is not None else None


def public_address(tx: Tx, machine_id: int) -> str:
    """The address that browsers reach a system VM by, in a basic zone one of the guests' network; empty when it has none."""
    for nic in nics.of_machine(tx, machine_id):
        if nic.traffic in (Traffic.PUBLIC, Traffic.GUEST) and nic.primary is not None:
            return nic.primary.text
    return ""


def are_secure(tx: Tx, zone_id: int) -> bool:
    """Whether consoles of the zone open over HTTPS: the setting says so, and a certificate has been uploaded."""
    return certificates.is_served(tx) and bool(settings.value(tx, "consoleproxy.sslEnabled", zone_id=zone_id))


def url_domain(tx: Tx, zone_id: int) -> str:
    """How browsers name proxies: nothing (by address), `*.domain`, or one name for all."""
    return str(settings.value(tx, "consoleproxy.url.domain", zone_id=zone_id) or "")


def neighbours(tx: Tx, machine: Row) -> tuple[Neighbour, ...]:
    """The other living proxies of a proxy's zone."""
    others = [row for row in proxies_of(tx, machine.zone_id) if row.id != machine.id]
    found = [(public_address(tx, row.id), row.wanted == "running" and not row.draining) for row in others]
    return tuple(Neighbour(address, stays) for address, stays in found if address)


def tell_neighbours(tx: Tx, machine: Row) -> None:
    """A proxy has come, goes, or is being emptied: pages of the others go on elsewhere than before."""
    for row in proxies_of(tx, machine.zone_id):
        if row.id != machine.id and row.wanted == "running":
            machines.wish_document(tx, row.id)


def emptying(tx: Tx, machine: Row) -> Emptying:
    """What decides whether a proxy may go now."""
    rest = [row for row in proxies_of(tx, machine.zone_id) if row.id != machine.id]
    return Emptying(
        sessions=fleets.open_sessions(tx, machine.id),
        others_serve=any(member.serves for member in fleets.members(tx, rest)),
        forced=machine.forced,
        until=machine.drain_until,
    )


def begin_drain(tx: Tx, machine_id: int) -> None:
    """Its pages are asked to go on with the zone's other proxies; it takes no new ones."""
    machine = tx.get(tables.machine, machine_id)
    assert machine is not None
    tx.update(tables.machine, machine_id, draining=True, drain_until=tx.now + DRAIN_S)
    for placement in machines.placements_of(tx, machine_id):
        if placement.wanted == "running":
            machines.tell(tx, machine, placement, "running", placement.told)
    tell_neighbours(tx, machine)


def end_drain(tx: Tx, machine_id: int) -> None:
    """It is empty, or was waited for long enough."""
    tx.update(tables.machine, machine_id, draining=False, drain_until=None)
