"""Emptying a host for maintenance: what moves away, what has to stop, and why it cannot go on. Pure.

System VMs move by replacement: their next incarnation is placed on another host, a router's while the one here serves.
Guests move while they run, with their
volumes, where another host of the cluster can take them; one that did not come to move is tried again, and holds the maintenance
up with the reason. A guest that no host can take is stopped, and started again by whoever wants it when the host is back.
Nothing is taken from a host that cannot be spoken to, since its machines would then be neither here nor there.
"""

from dataclasses import dataclass

PREPARING, FAILED, DONE = "PrepareForMaintenance", "ErrorInPrepareForMaintenance", "Maintenance"
STATES = (PREPARING, FAILED, DONE, "ErrorInMaintenance")
AT_ONCE = 8  # moves under way at a time, so that the other hosts are not asked for everything in one second


@dataclass(frozen=True, slots=True)
class Resident:
    """A machine with something on the host."""

    id: int
    name: str
    wanted: str  # running | stopped | gone
    off: bool  # nothing of it runs here
    leaving: bool  # this incarnation is on its way out
    bound: bool  # its volumes are here
    stuck: str = ""  # why no other host can take it
    live: bool = False  # it can move while it runs
    stayed: str = ""  # why it did not when it was tried


@dataclass(frozen=True, slots=True)
class Evacuation:
    """The next step, and what the host's resource state is meanwhile."""

    state: str
    move: tuple[int, ...] = ()
    stop: tuple[int, ...] = ()
    why: str = ""
    live: tuple[int, ...] = ()  # to move while they run


def plan_evacuation(host: str, linked: bool, residents: tuple[Resident, ...]) -> Evacuation:
    """What to do next; state DONE when nothing is left that runs, or could."""
    staying = tuple(resident for resident in residents if not (resident.bound and resident.off and _rests(resident)))
    if not staying:
        return Evacuation(DONE)
    if not linked:
        names = ", ".join(resident.name for resident in staying[:5])
        return Evacuation(
            FAILED,
            why=f"host {host} is not linked, so that {names} can be neither moved nor stopped. Reconnect it, or use "
            "deleteHost with forced=true when it is dead",
        )
    here = tuple(resident for resident in staying if not resident.leaving and resident.wanted != "gone")
    stop = tuple(one.id for one in here if one.bound and not one.live and one.wanted == "running")
    movable = tuple(resident for resident in here if not resident.bound)
    room = max(0, AT_ONCE - sum(1 for resident in staying if resident.leaving))
    live = tuple(resident.id for resident in here if resident.bound and resident.live)[:room]
    move = tuple(resident.id for resident in movable if not resident.stuck)[: max(0, room - len(live))]
    why = _what_stands_in_the_way(here, movable)
    if why:
        return Evacuation(FAILED, move, stop, why, live)
    return Evacuation(PREPARING, move, stop, f"{len(staying)} machines are leaving", live)


def _what_stands_in_the_way(here: tuple[Resident, ...], movable: tuple[Resident, ...]) -> str:
    stuck = [f"{one.name} has nowhere to go: {one.stuck}" for one in movable if one.stuck]
    tried = [one for one in here if (one.live or not one.bound) and one.stayed]
    stayed = [f"{one.name} could not be moved and is tried again: {one.stayed}" for one in tried]
    if not stuck and not stayed:
        return ""
    return f"{'; '.join([*stuck, *stayed][:5])}. Make room, or stop what may stop"


def _rests(resident: Resident) -> bool:
    return resident.wanted == "stopped" and not resident.leaving
