"""How many system VMs of a kind a zone needs: console proxies and secondary storage VMs alike.

A fleet grows while the free room of those that serve is less than what has to be kept spare, one at a time; it shrinks by one
that has had nothing to do for long and is not needed for that spare room, the newest first. Work that waits because nobody has
room for it takes from the free room what it will need.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Member:
    """A system VM as the planner sees it."""

    id: int
    wanted: str
    running: bool  # up, and its document is live
    load: int  # console sessions, or the weight of the commands that count
    commands: int = 0  # under way, also those that are too old to count as load
    draining: bool = False
    idle_s: float = 0.0  # for how long it has had nothing to do

    @property
    def serves(self) -> bool:
        """New work may go to it."""
        return self.running and self.wanted == "running" and not self.draining

    @property
    def is_idle(self) -> bool:
        """It has nothing to do."""
        return not self.load and not self.commands


@dataclass(frozen=True, slots=True)
class Rules:
    """The zone's settings."""

    load_max: int = 50  # of one member
    spare: int = 10  # free room that is kept
    least: int = 1
    most: int = 10
    restart: bool = True  # one that was stopped
    retire_after_s: float = 0.0  # 0: never


@dataclass(frozen=True, slots=True)
class Grow:
    """Make one more."""


@dataclass(frozen=True, slots=True)
class Restart:
    """Start a stopped one."""

    id: int


@dataclass(frozen=True, slots=True)
class Retire:
    """Destroy one that is not needed."""

    id: int


@dataclass(frozen=True, slots=True)
class Enough:
    """Nothing to do."""

    why: str


Step = Grow | Restart | Retire | Enough


def plan(members: tuple[Member, ...], rules: Rules, queued: int = 0) -> Step:
    """One step towards enough members; `queued` is the weight of what waits for room."""
    stopped = next((member for member in members if member.wanted == "stopped"), None)
    if stopped is not None and rules.restart:
        return Restart(stopped.id)
    if any(member.wanted == "running" and not member.running for member in members):
        return Enough("one is on its way")
    serving = [member for member in members if member.serves]
    if len(serving) < rules.least or room(serving, rules) - queued < rules.spare:
        return Grow() if len(members) < rules.most else Enough(f"{rules.most} is the most that may be launched")
    return _shrink(serving, rules, queued)


def _shrink(serving: list[Member], rules: Rules, queued: int) -> Step:
    for member in sorted(serving, key=lambda member: -member.id):
        rest = [other for other in serving if other is not member]
        unneeded = len(rest) >= rules.least and rest and room(rest, rules) - queued >= rules.spare
        if unneeded and member.is_idle and 0 < rules.retire_after_s <= member.idle_s:
            return Retire(member.id)
    return Enough("there is room")


def room(members: Iterable[Member], rules: Rules) -> int:
    """How much more these could carry; those over their limit take nothing from the others."""
    return sum(max(0, rules.load_max - member.load) for member in members)


def least_loaded(members: Iterable[Member]) -> Member | None:
    """Of those that serve, the one with the least to do; of several the oldest."""
    serving = [member for member in members if member.serves]
    return min(serving, key=lambda member: (member.load, member.id)) if serving else None


def with_room(members: Iterable[Member], load_max: int) -> Member | None:
    """The least loaded one of those that may be given more now."""
    return least_loaded(member for member in members if member.load < load_max)
