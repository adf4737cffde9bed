"""A guest moves to another host while it runs: the next step, from what both placements last said. Pure.

Its incarnation has two placements meanwhile. The one that takes it in is `incoming`: it makes ready, and is never told to run
before the other one has said that the guest is gone from there. The one that gives it away is `away`.

    incoming, ready         the other one is told to give the guest away
    sent                    the guest is the incoming host's, whatever is wanted of it meanwhile (`Arrive`)
    failed, died, withdrawn it stays (`Stay`): the one that was to give it away is told first, and only when it has said that
                            nothing is on its way any more, the incoming one goes with all that had come

Since the host that takes it in does not let it run by itself, there are never two of them running; what cannot be looked at is
waited for. What happens on the hosts is sysvm/hosts (driver.Mover).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sysvm.systemvms.machine import Drop, MachineStep, PlacementSeen, Tell, Wait, Wanted
from sysvm.wire.machines import Moving, Power

READY_S = 600.0  # how long a host may take to make ready, where an image has to come first


@dataclass(frozen=True, slots=True)
class Moves:
    """What is wanted of the machine."""

    wanted: Wanted
    incarnation: int
    wish: int
    at: int | None  # the host that has it
    to: int | None  # the host that it moves to


@dataclass(frozen=True, slots=True)
class Land:
    """Make a placement that takes it in."""

    host: int


@dataclass(frozen=True, slots=True)
class Arrive:
    """It is the incoming placement's from now on."""

    left: int
    placement: int


@dataclass(frozen=True, slots=True)
class Stay:
    """It does not move; `placement`, if there still is one, shall be `wanted`."""

    why: str
    placement: int | None
    wanted: Wanted


MoveStep = MachineStep | Land | Arrive | Stay


def plan(want: Moves, placements: Sequence[PlacementSeen]) -> MoveStep | None:
    """The next step of a move, or of what is left of one; None: there is nothing to do about it."""
    source = next((p for p in reversed(placements) if p.host == want.at and p.wanted != "incoming"), None)
    incoming = next((p for p in placements if p.wanted == "incoming"), None)
    if source is not None and incoming is not None and source.moving is Moving.SENT:
        return Arrive(source.id, incoming.id)
    if lost := next((p for p in placements if p.host_lost), None):
        return Drop(lost.id)
    if want.to is not None:
        why = _why_not(want, source, incoming)
        return _onwards(want, want.to, source, incoming) if not why else _stay(want, source, why)
    if source is not None and source.wanted == "away":
        return _stay(want, source, "nobody wants it moved any more")
    if incoming is not None:
        if source is not None and source.settled < source.told:
            return Wait(5, "nothing may be on its way any more before the other host gives up")
        return Tell(incoming.id, "gone")
    return _clear(want, source, placements)


def beside(want: Moves, placements: Sequence[PlacementSeen]) -> tuple[PlacementSeen, ...]:
    """The placements that a move has nothing to do with."""
    return tuple(p for p in placements if p.host == want.at or p.incarnation != want.incarnation or want.at is None)


def _why_not(want: Moves, source: PlacementSeen | None, incoming: PlacementSeen | None) -> str:
    if source is None or source.incarnation != want.incarnation or want.wanted != "running":
        return "something else was wanted of it meanwhile"
    if source.wanted == "away":
        if source.moving is Moving.FAILED:
            return source.note or "the other host did not take it in"
        if incoming is None:
            return "the other host was given up"
        if source.settled >= source.told and source.power is not Power.RUNNING:
            return "it ended meanwhile"
        return ""
    if source.power not in (Power.RUNNING, Power.UNKNOWN):
        return "it does not run any more"
    if incoming is not None and incoming.settled < incoming.told and incoming.age_s > READY_S:
        return f"the other host was not ready in time: {incoming.note or 'it has not said why'}"
    return ""


def _onwards(want: Moves, to: int, source: PlacementSeen | None, incoming: PlacementSeen | None) -> MoveStep:
    assert source is not None
    if incoming is None:
        return Land(to)
    if incoming.told == 0:
        return Tell(incoming.id, "incoming")
    if incoming.settled < incoming.told:
        return Wait(30, f"the other host makes ready: {incoming.note}" if incoming.note else "the other host makes ready")
    if source.wanted != "away":
        return Tell(source.id, "away")
    return Wait(30, "it is on its way to another host")


def _stay(want: Moves, source: PlacementSeen | None, why: str) -> Stay:
    """It is called back, or stopped where it is; what else may be wanted of it comes after that."""
    if source is None or source.wanted != "away":
        return Stay(why, None, "running")
    runs_on = want.wanted == "running" and source.incarnation == want.incarnation
    return Stay(why, source.id, "running" if runs_on else "stopped")


def _clear(want: Moves, source: PlacementSeen | None, placements: Sequence[PlacementSeen]) -> MachineStep | None:
    """What is left of the machine on the host that it has left, or did not come to."""
    if source is None or source.incarnation != want.incarnation:
        return None
    for old in placements:
        if old.incarnation != source.incarnation or old.host == want.at:
            continue
        if old.wanted != "gone":
            return Tell(old.id, "gone")
        if old.settled >= old.told:
            return Drop(old.id)
        if want.wanted == "gone":
            return Wait(60, "the rest of it is being removed from the host that it has left")
    return None
