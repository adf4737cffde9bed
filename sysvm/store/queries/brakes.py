"""The brake on healing of each zone: how the zone looks, and what follows of it. The decision is systemvms/safety.

Whoever wants to heal asks `why_not`, which looks by itself as long as no brake is recorded: a storm must not be faster than
the round that records brakes. `sweep` puts brakes on and takes them off, with one alert for each.

Races thought of: a death is in its placement's row before anything is done about it, so that those who ask at the same
time see one another's.
"""

from sysvm.store import tables
from sysvm.store.queries import alerts, events, settings
from sysvm.store.queries.alerts import AlertType
from sysvm.store.queries.events import About
from sysvm.store.store import Row, Tx
from sysvm.systemvms import safety
from sysvm.systemvms.safety import Brake, Health

SHARE = "heal.brake.share"

AWAY = """
select count(*), coalesce(sum(machines), 0) from host where zone_id = :zone and removed is null and state = 'Alert'
"""
DIED = """
select count(*) from placement p join host h on h.id = p.host_id
where p.failures > 0 and p.removed is null and p.wanted = 'running' and (p.since > :since or p.power <> 'running')
and h.zone_id = :zone and h.removed is null and h.state <> 'Alert'
"""
SILENT = """
select count(*) from placement p join host h on h.id = p.host_id
where p.document_live = '' and p.agent_boot <> '' and p.agent_since < :since and p.removed is null
and p.wanted = 'running' and p.power = 'running' and p.failures = 0 and h.zone_id = :zone and h.removed is null
and h.state <> 'Alert'
"""
PLACED = "select coalesce(sum(machines), 0) from host where zone_id = :zone and removed is null"


def why_not(tx: Tx, zone_id: int, *, elsewhere: bool) -> str:
    """Why a machine of the zone must not be healed now; empty when it may be. `elsewhere`: on another host."""
    zone = tx.get(tables.zone, zone_id)
    assert zone is not None
    brake, reason = Brake(zone.brake), str(zone.brake_why)
    if brake is Brake.OFF:
        brake, reason = _look(tx, zone_id)
    stops = brake is Brake.EVERYWHERE or (elsewhere and brake is Brake.ELSEWHERE)
    return f"healing in zone {zone.name} has stopped: {reason}" if stops else ""


def _look(tx: Tx, zone_id: int) -> tuple[Brake, str]:
    share = float(settings.value(tx, SHARE, zone_id=zone_id) or 0)
    if share <= 0:
        return Brake.OFF, ""
    ((died,),) = tx.sql(DIED, zone=zone_id, since=tx.now - safety.WINDOW_S)
    ((silent,),) = tx.sql(SILENT, zone=zone_id, since=tx.now - safety.SILENT_S)
    died += silent
    ((hosts, away),) = tx.sql(AWAY, zone=zone_id)
    if died + away < safety.FEWEST:
        return Brake.OFF, ""
    ((placed,),) = tx.sql(PLACED, zone=zone_id)
    health = Health(machines=int(placed), died=int(died), away=int(away), away_hosts=int(hosts))
    brake = safety.brake(health, share)
    return brake, safety.why(health, share) if brake else ""


def tells_of_hosts(tx: Tx, zone_id: int) -> bool:
    """Whether the alert about the zone's brake tells of the hosts that cannot be reached, too."""
    zone = tx.get(tables.zone, zone_id)
    assert zone is not None
    return bool(zone.brake) and tx.sql(AWAY, zone=zone_id)[0][0] >= safety.FEWEST_HOSTS


def sweep(tx: Tx) -> list[int]:
    """Each zone's brake is as the zone looks now. The zones whose brake was let go."""
    let_go = []
    for zone in tx.rows(tables.zone, "removed is null order by id"):
        brake, reason = _look(tx, zone.id)
        if brake != zone.brake:
            _turn(tx, zone, brake, reason)
            let_go += [int(zone.id)] if brake is Brake.OFF else []
    return let_go


def _turn(tx: Tx, zone: Row, brake: Brake, reason: str) -> None:
    subject = f"Healing in zone {zone.name} has stopped"
    about = About("Zone", zone.id, zone.uuid, zone.name)
    tx.update(tables.zone, zone.id, brake=str(brake), brake_why=reason)
    alerts.resolve(tx, AlertType.HA_ACTION, zone=zone.id, subject=subject)
    if brake is Brake.OFF:
        text = f"Healing in zone {zone.name} goes on: the zone looks well again, or an operator has said so"
        events.record(tx, "ZONE.HEAL", text, about=about)
        return
    held = "made anew on other hosts" if brake is Brake.ELSEWHERE else "started again or made anew"
    text = (
        f"{subject}: {reason}. What looks dead is not {held}. Look at hosts, network and storage first: it goes on by "
        f"itself when the zone looks well again. When the machines are dead indeed, set {SHARE} of the zone to 0: then "
        "they are healed at once. Set it back afterwards."
    )
    events.record(tx, "ZONE.HEAL", text, about=about, level="ERROR")
    alerts.raise_alert(tx, AlertType.HA_ACTION, subject, text, zone=zone.id)
