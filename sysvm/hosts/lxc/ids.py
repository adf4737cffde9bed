"""Ranges of 65,536 user ids, one for each machine, so that root of one container is nobody in all others.

The table is durable: files of a machine carry its ids. Where the ranges of a host begin depends on the hash of its state
folder, so that two hosts on one machine are unlikely to share any. One process writes it (the host agent), under one
lock.
"""

from pathlib import Path

import msgspec

from sysvm.basics.errors import Refused, Why
from sysvm.hosts.system.durable import write_durably
from sysvm.hosts.system.userids import FIRST, LAST, SIZE


class Ids:
    """The id ranges of a host's containers."""

    def __init__(self, table: Path, seed: str) -> None:
        self._table = table
        self._start = FIRST + int(seed, 16) % (LAST - FIRST)
        self._slots: dict[str, int] = msgspec.json.decode(table.read_bytes(), type=dict[str, int]) if table.exists() else {}

    def base(self, machine: str) -> int:
        """The first id of the machine, the same at each call."""
        slot = self._slots.get(machine)
        if slot is None:
            slot = self._free()
            self._slots[machine] = slot
            self._write()
        return slot * SIZE

    def known(self, machine: str) -> int | None:
        """The first id of a machine that has a range."""
        slot = self._slots.get(machine)
        return None if slot is None else slot * SIZE

    def forget(self, machine: str) -> None:
        """The machine is gone; its range may be given to another one."""
        if self._slots.pop(machine, None) is not None:
            self._write()

    def _free(self) -> int:
        taken = set(self._slots.values())
        order = [*range(self._start, LAST + 1), *range(FIRST, self._start)]
        free: int | None = next((slot for slot in order if slot not in taken), None)
        if free is not None:
            return free
        raise Refused(f"all {len(order)} id ranges for containers are taken", Why.CAPACITY)

    def _write(self) -> None:
        write_durably(self._table, msgspec.json.encode(self._slots))
