"""The way to the QEMU of a running guest, for copies of its disks (`qmp.Line`), through libvirt's monitor.

libvirt's own backups need checkpoints that belong to one domain definition; ours outlive incarnations, because all that is
remembered is in the volume. libvirt leaves jobs and nodes alone that it has not made.
"""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from sysvm.basics.errors import NotYet
from sysvm.hosts.kvm.connection import load
from sysvm.hosts.storage.qmp import read_answer

# Does something with the domain, in libvirt's thread.
With = Callable[[Callable[[Any], Any]], Awaitable[Any]]


class GuestLine:
    """Satisfies qmp.Line."""

    def __init__(self, volume: Path, do: With) -> None:
        self.node = ""
        self._volume = volume
        self._do = do

    async def find_node(self) -> bool:
        """Whether this QEMU has the volume open; must be called first."""
        nodes = await self.ask("query-named-block-nodes", flat=True)
        mine = [node["node-name"] for node in nodes if node["drv"] == "qcow2" and _file(node) == str(self._volume)]
        self.node = mine[0] if mine else ""
        return bool(mine)

    async def ask(self, command: str, **arguments: Any) -> Any:
        """See Line."""
        libvirt = load()
        words = json.dumps({"execute": command, **({"arguments": arguments} if arguments else {})})

        def work(one: Any) -> str:
            import libvirt_qemu

            return str(libvirt_qemu.qemuMonitorCommand(one, words, 0))

        try:
            return read_answer(json.loads(await self._do(work)), command)
        except libvirt.libvirtError as error:
            raise NotYet(2, f"the guest's QEMU does not answer: {error}") from error

    async def freeze(self) -> bool:
        """See Line."""
        return await self._of_guest(lambda one: one.fsFreeze())

    async def thaw(self) -> None:
        """See Line."""
        await self._of_guest(lambda one: one.fsThaw())

    async def _of_guest(self, act: Callable[[Any], Any]) -> bool:
        libvirt = load()
        try:
            await self._do(act)
        except libvirt.libvirtError:
            return False
        return True


def _file(node: dict[str, Any]) -> str:
    """The file of a node; one that stands on a template describes itself whole."""
    name = str(node["file"])
    if not name.startswith("json:"):
        return name
    return str(json.loads(name.removeprefix("json:")).get("file", {}).get("filename", ""))
