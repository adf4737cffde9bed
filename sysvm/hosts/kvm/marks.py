"""What a host has written down about incarnations that come from or go to another host while they run.

    <incarnation>/landing.json   it shall be taken in: until it is told to run here, nothing of it counts
    <incarnation>/leaving.json   it was sent, in which attempt: an attempt is made once, whoever dies meanwhile

Both are in the incarnation's folder and go with it. What is in memory (who is being sent, which doors are open) is lost with the
agent, and so is the move itself, whose bytes pass the agent.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from sysvm.hosts.layout import Layout
from sysvm.hosts.system.durable import remove_durably, write_durably
from sysvm.wire.machines import Disk, LandingPlace, MachineSeen, Moving, Power

T = TypeVar("T")
Key = tuple[str, int]  # machine, incarnation


class Landing(msgspec.Struct, frozen=True, kw_only=True):
    """It shall be taken in."""

    attempt: str
    disks: tuple[Disk, ...] = ()  # those that were made for it


class Leaving(msgspec.Struct, frozen=True, kw_only=True):
    """It was sent."""

    attempt: str
    why: str = ""  # it is still here


@dataclass(frozen=True, slots=True)
class Life:
    """What libvirt knows of it now."""

    defined: bool = False
    paused: bool = False
    busy: bool = False  # libvirt is at work on sending it


class Marks:
    """The notes of one host."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self.places: dict[Key, LandingPlace] = {}  # whose doors are open
        self.sending: set[Key] = set()

    def landing(self, key: Key) -> Landing | None:
        """Whether it shall be taken in."""
        return _read(self._file(key, "landing"), Landing)

    def leaving(self, key: Key) -> Leaving | None:
        """Whether it was sent."""
        return _read(self._file(key, "leaving"), Leaving)

    def write(self, key: Key, mark: Landing | Leaving) -> None:
        """Written before anything is done in its name."""
        write_durably(self._file(key, type(mark).__name__.lower()), msgspec.json.encode(mark))

    def clear(self, key: Key) -> None:
        """It is here, and runs as any other."""
        for name in ("landing", "leaving"):
            remove_durably(self._file(key, name))
        self.places.pop(key, None)

    def told(self, seen: MachineSeen, life: Life) -> MachineSeen:
        """What a look says of it."""
        key = (seen.machine, seen.incarnation)
        if self.landing(key) is not None:
            power = Power.STARTING if life.paused else seen.power
            return msgspec.structs.replace(seen, power=power, moving=Moving.IN, landing=self.places.get(key), why="")
        leaving = self.leaving(key)
        if leaving is None:
            return seen
        if not life.defined:
            return msgspec.structs.replace(seen, power=Power.STOPPED, moving=Moving.SENT)
        if life.busy or key in self.sending:
            return msgspec.structs.replace(seen, moving=Moving.OUT, why="")
        return msgspec.structs.replace(seen, moving=Moving.FAILED, why=leaving.why or "it was interrupted")

    def _file(self, key: Key, name: str) -> Path:
        return self._layout.incarnation(*key) / f"{name}.json"


def _read(path: Path, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (FileNotFoundError, NotADirectoryError):
        return None
