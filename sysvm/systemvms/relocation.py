"""A router goes to another host while it serves: the next step, from what both placements last said. Pure.

Its next incarnation has a placement on the other host. While that one is `incoming` it stands by there, with its document live
behind shut ports. Then the one that serves is `away`: its host copies connections, shuts its ports for good, and lets the other
host take the service (hosts/moves/relocation.py). It is at most one of them that is heard, because the server lets the next one
serve only when the host of the other one has said that that one is silent, and lets that one serve again only when its host has
said that it has kept the service, or when nothing of the next one is left.

    next one ready           the one that serves is given away
    sent                     the next one is the machine's, whether or not it has taken the service already
    it serves                the old one goes
    failed                   the old one has kept the service, the next one goes, and the job says why
    the next one is no good  it goes first; then the old one, which went on behind shut ports, is called back

A host that cannot be asked is waited for, as ever; one that was given up has neither. How it begins is in machine.py.
"""

from collections.abc import Sequence

from sysvm.systemvms.machine import (
    DEATHS_BEFORE_ALERT,
    REPLACE_PATIENCE_S,
    Drop,
    FallBack,
    MachineStep,
    MachineWanted,
    PlacementSeen,
    Tell,
    Wait,
)
from sysvm.wire.machines import Moving, Power


def plan(want: MachineWanted, placements: Sequence[PlacementSeen]) -> MachineStep | None:
    """The next step of such a move; None: there is none, or what has to be done is not about it."""
    away = next((p for p in placements if p.wanted == "away"), None)
    incoming = next((p for p in placements if p.wanted == "incoming"), None)
    if (away is None and incoming is None) or want.wanted != "running":
        return None
    if lost := next((p for p in placements if p.host_lost), None):
        return Drop(lost.id)
    if away is not None:
        new = next((p for p in reversed(placements) if p.incarnation > away.incarnation), None)
        return _given(want, away, new)
    assert incoming is not None
    return _made_ready(want, incoming, next((p for p in reversed(placements) if p.id != incoming.id), None))


def _made_ready(want: MachineWanted, incoming: PlacementSeen, old: PlacementSeen | None) -> MachineStep | None:
    if want.incarnation != incoming.incarnation:
        return None  # it is retired as whatever nobody wants any more
    if old is None:
        return Tell(incoming.id, "running")
    if old.wanted != "running":
        return None
    if incoming.told < want.wish:
        return Tell(incoming.id, "incoming")
    if incoming.settled >= incoming.told:
        return Tell(old.id, "away")
    left = REPLACE_PATIENCE_S[incoming.runtime] - incoming.age_s
    if left <= 0:
        return FallBack(old.incarnation, incoming.note or "it was not ready in time on the other host")
    return Wait(min(60.0, max(left, 1.0)), "the next incarnation is made ready on another host")


def _given(want: MachineWanted, away: PlacementSeen, new: PlacementSeen | None) -> MachineStep:
    if away.moving is Moving.FAILED or new is None:
        return _kept(want, away, new)
    if away.moving is not Moving.SENT and not _is_gone(away):
        return Wait(30, "the service is on its way to another host")
    if new.wanted == "incoming":
        return Tell(new.id, "running")
    if new.wanted == "gone":
        return Drop(new.id) if new.settled >= new.told else Wait(60, "the next incarnation is being removed")
    if want.incarnation <= away.incarnation:
        return Tell(new.id, "gone")
    if new.failures >= DEATHS_BEFORE_ALERT:
        return FallBack(away.incarnation, new.note or "it did not come to serve")
    if new.told < want.wish and want.incarnation == new.incarnation:
        return Tell(new.id, "running")
    if new.settled < new.told or not new.serves:
        return Wait(60, "its host is at work on it")
    return Tell(away.id, "gone")


def _kept(want: MachineWanted, away: PlacementSeen, new: PlacementSeen | None) -> MachineStep:
    """The old one has the service, or there is nobody else left."""
    if want.incarnation != away.incarnation:
        return FallBack(away.incarnation, away.note or (new.note if new else "") or "the other host was given up")
    return Tell(away.id, "running")


def _is_gone(away: PlacementSeen) -> bool:
    return away.settled >= away.told and away.power is Power.ABSENT
