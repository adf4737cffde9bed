"""What a host agent must not forget when it dies: the highest fence of each placement, and the highest epoch it has obeyed.

A number is on disk before anything is done in its name: a worker that was overtaken stays overtaken, whatever crashes.
Fences of machines that have been gone for a month are dropped at the start; no worker is that late.
"""

from pathlib import Path
from typing import Protocol

from sysvm.basics.clock import Clock
from sysvm.basics.errors import Stale
from sysvm.hosts.system.durable import write_durably

FORGET_S = 30 * 24 * 3600.0


class Memory(Protocol):
    """Fences and epoch."""

    @property
    def epoch(self) -> int:
        """The highest epoch obeyed; 0 before the first."""
        ...

    def raise_epoch(self, epoch: int) -> None:
        """From now on nothing of a lower epoch is obeyed."""
        ...

    def fence(self, key: str) -> int:
        """The highest fence seen for `key`; 0 before the first."""
        ...

    def raise_fence(self, key: str, fence: int) -> None:
        """Remembers a fence. Raises Stale when a higher one has been seen."""
        ...


class PassingMemory:
    """In memory only: for a simulated host, whose memory outlives its simulated agent."""

    def __init__(self) -> None:
        self.epoch = 0
        self._fences: dict[str, int] = {}

    def raise_epoch(self, epoch: int) -> None:
        """See Memory."""
        self.epoch = max(self.epoch, epoch)

    def fence(self, key: str) -> int:
        """See Memory."""
        return self._fences.get(key, 0)

    def raise_fence(self, key: str, fence: int) -> None:
        """See Memory."""
        _check(key, fence, self.fence(key))
        self._fences[key] = fence


class DurableMemory(PassingMemory):
    """On disk: one small file for each machine, and one for the epoch."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        super().__init__()
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for file in folder.iterdir():
            if file.name.startswith("."):
                continue
            if file.name == "epoch":
                self.epoch = int(file.read_text())
            elif file.stat().st_mtime < clock.now() - FORGET_S:
                file.unlink()
            else:
                self._fences[file.name] = int(file.read_text())

    def raise_epoch(self, epoch: int) -> None:
        """See Memory."""
        if epoch > self.epoch:
            write_durably(self._folder / "epoch", str(epoch).encode())
        super().raise_epoch(epoch)

    def raise_fence(self, key: str, fence: int) -> None:
        """See Memory."""
        _check(key, fence, self.fence(key))
        if fence > self.fence(key):
            write_durably(self._folder / key, str(fence).encode())
        super().raise_fence(key, fence)


def _check(key: str, fence: int, highest: int) -> None:
    if fence < highest:
        raise Stale(f"fence {fence} for {key} is older than {highest}")
