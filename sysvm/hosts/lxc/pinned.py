"""Pinned namespaces: a user and a network namespace that exist while nothing runs in them.

They are made before a container's first start and joined by each start. So the NICs are there before the first process,
and what a router has in its kernel (addresses, rules, connections) outlives the processes that were replaced. They are
held by bind mounts in the runtime folder, and end with them.

A crash between the two mounts leaves half a pair, which is thrown away: nothing can have joined it.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from sysvm.basics.errors import NotYet
from sysvm.hosts.system import mounts
from sysvm.hosts.system.userids import SIZE


@dataclass(frozen=True, slots=True)
class Pinned:
    """The two files of a pair."""

    user: Path
    net: Path

    @classmethod
    def at(cls, folder: Path, key: str) -> "Pinned":
        """The pair that is called `key`."""
        return cls(folder / f"{key}.user", folder / f"{key}.net")

    def exists(self) -> bool:
        """True when both are held."""
        return mounts.is_mounted(self.user) and mounts.is_mounted(self.net)

    async def ensure(self, base: int) -> None:
        """Both are held; ids from `base` on are those of the user namespace."""
        if self.exists():
            return
        self.remove()
        self.user.parent.mkdir(parents=True, exist_ok=True)
        await self._make(base)

    def remove(self) -> None:
        """Neither is held by us; they end with the last process in them."""
        for file in (self.net, self.user):
            mounts.unmount(file)
            file.unlink(missing_ok=True)

    async def _make(self, base: int) -> None:
        holder = await asyncio.create_subprocess_exec(
            *("unshare", "--user", "--net", "--", "sh", "-c", "echo; read line"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            assert holder.stdout is not None
            if await holder.stdout.readline() != b"\n":
                raise NotYet(10, "the kernel gives no user namespace")
            _map_ids(holder.pid, base)
            for name, file in (("net", self.net), ("user", self.user)):
                file.touch()
                mounts.bind(Path(f"/proc/{holder.pid}/ns/{name}"), file)
        finally:
            await holder.communicate(b"\n")


def _map_ids(pid: int, base: int) -> None:
    for name in ("uid_map", "gid_map"):
        Path(f"/proc/{pid}/{name}").write_text(f"0 {base} {SIZE}")
