"""A router's move to another host as a table: what the placements say, and the next step."""

import dataclasses
import itertools

import pytest

from sysvm.systemvms import machine as plans
from sysvm.systemvms.machine import MachineWanted, PlacementSeen
from sysvm.systemvms.relocation import plan
from sysvm.wire.machines import Kind, Moving, Power

WISH = 7
OLD = PlacementSeen(
    id=1, incarnation=1, host=1, host_lost=False, wanted="running", power=Power.RUNNING, told=WISH, settled=WISH, serves=True
)  # fmt: skip
NEW = dataclasses.replace(OLD, id=2, incarnation=2, host=2, wanted="incoming", serves=False)
AWAY = dataclasses.replace(OLD, wanted="away", settled=0, moving=Moving.OUT)
SENT = dataclasses.replace(OLD, wanted="away", moving=Moving.SENT, serves=False)
FAILED = dataclasses.replace(OLD, wanted="away", moving=Moving.FAILED, note="no route")
GONE = dataclasses.replace(AWAY, power=Power.ABSENT, settled=WISH)
SERVES = dataclasses.replace(NEW, wanted="running", serves=True)
LEAVES = dataclasses.replace(NEW, wanted="gone")
AT_WORK = dataclasses.replace(NEW, wanted="running", settled=0)


def want(incarnation: int = 2, wanted: plans.Wanted = "running", wish: int = WISH) -> MachineWanted:
    return MachineWanted(kind=Kind.ROUTER, wanted=wanted, incarnation=incarnation, wish=wish)


TABLE = [
    ("no move", want(), (OLD,), None),
    ("it was asked to end", want(wanted="stopped"), (AWAY, NEW), None),
    ("another one is wanted before it began", want(3), (OLD, NEW), None),
    ("a newer wish", want(wish=8), (OLD, NEW), plans.Tell(2, "incoming")),
    ("ready", want(), (OLD, NEW), plans.Tell(1, "away")),
    ("never ready", want(), (OLD, dataclasses.replace(NEW, settled=0, age_s=1e3, note="no")), plans.FallBack(1, "no")),
    ("the other host was given up", want(), (OLD, dataclasses.replace(NEW, host_lost=True)), plans.Drop(2)),
    ("its own host was given up", want(), (dataclasses.replace(AWAY, host_lost=True), NEW), plans.Drop(1)),
    ("nobody serves any more", want(), (NEW,), plans.Tell(2, "running")),
    ("sent", want(), (SENT, NEW), plans.Tell(2, "running")),
    ("nothing of it is there", want(), (GONE, NEW), plans.Tell(2, "running")),
    ("it serves there", want(), (SENT, SERVES), plans.Tell(1, "gone")),
    ("stayed", want(), (FAILED, NEW), plans.FallBack(1, "no route")),
    ("stayed, and told so", want(1), (FAILED, NEW), plans.Tell(1, "running")),
    ("it does not serve there", want(), (SENT, dataclasses.replace(AT_WORK, failures=3, note="no")), plans.FallBack(1, "no")),
    ("it goes first", want(1), (SENT, AT_WORK), plans.Tell(2, "gone")),
    ("when it is gone", want(1), (SENT, LEAVES), plans.Drop(2)),
    ("the old one is called back", want(1), (SENT,), plans.Tell(1, "running")),
]  # fmt: skip


@pytest.mark.parametrize(("case", "wanted", "placements", "step"), TABLE, ids=[line[0] for line in TABLE])
def test_the_next_step(case: str, wanted: MachineWanted, placements: tuple[PlacementSeen, ...], step: object):
    assert step == plan(wanted, placements)


@pytest.mark.parametrize(
    ("wanted", "old", "new"),
    list(itertools.product((1, 2, 3), (OLD, AWAY, SENT, FAILED), (NEW, AT_WORK, SERVES, LEAVES))),
)
def test_neither_is_let_serve_while_the_other_one_may(wanted: int, old: PlacementSeen, new: PlacementSeen):
    """The next one only when the old one is silent; the old one only when it has kept the service."""
    step = plan(want(wanted), (old, new))
    if step == plans.Tell(new.id, "running"):
        assert old.moving is Moving.SENT
    if step == plans.Tell(old.id, "running"):
        assert old.moving is Moving.FAILED
