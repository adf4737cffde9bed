"""Being told when a process ends, by a file descriptor of it: no polling, and no wrong process when ids come again."""

import asyncio
import os

from sysvm.hosts.driver import Changed


class Watch:
    """The first processes of containers."""

    def __init__(self) -> None:
        self._handles: dict[str, int] = {}
        self._changed: Changed | None = None

    def tell(self, changed: Changed) -> None:
        """Whom to tell from now on."""
        self._changed = changed

    def add(self, name: str, machine: str, pid: int) -> None:
        """Watches a process; one that has ended already is told of at once."""
        if self._changed is None:
            return
        self.forget(name)
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            self._changed(machine)
            return
        self._handles[name] = handle
        asyncio.get_running_loop().add_reader(handle, self._ended, name, machine)

    def forget(self, name: str) -> None:
        """Its end is wanted: nobody is told."""
        handle = self._handles.pop(name, None)
        if handle is not None:
            asyncio.get_running_loop().remove_reader(handle)
            os.close(handle)

    def close(self) -> None:
        """Watches nothing any more."""
        for name in list(self._handles):
            self.forget(name)
        self._changed = None

    def _ended(self, name: str, machine: str) -> None:
        self.forget(name)
        if self._changed is not None:
            self._changed(machine)
