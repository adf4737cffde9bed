"""Which screen a machine has, told from its spec on disk alone: the relay works while the host agent is away.

The newest incarnation counts, as it does for users. A VM has a VNC socket and a serial line; a container has a getty on its
first terminal, never a root shell.
"""

from dataclasses import dataclass
from pathlib import Path

import msgspec

from sysvm.hosts.driver import TextCommand
from sysvm.hosts.layout import Layout
from sysvm.wire.machines import Runtime


@dataclass(frozen=True, slots=True)
class UnixSocket:
    """Bytes are spoken on this socket."""

    path: Path


Target = UnixSocket | TextCommand


class _Spec(msgspec.Struct):
    """The little of a spec that decides."""

    runtime: Runtime


def target_of(layout: Layout, machine: str, kind: str) -> Target | None:
    """Where the screen (`vnc`) or the text console (`text`) of a machine is; None when it has none."""
    incarnation, runtime = _newest(layout, machine)
    if runtime is Runtime.VM:
        name = "vnc.sock" if kind == "vnc" else "serial.sock"
        return UnixSocket(layout.channel(machine, incarnation) / name)
    if runtime is Runtime.CONTAINER and kind == "text":
        name = f"{machine}.{incarnation}"
        return TextCommand(("lxc-console", "-P", str(layout.lxc), "-n", name, "-t", "1", "-e", "-1"))
    return None


def _newest(layout: Layout, machine: str) -> tuple[int, Runtime | None]:
    folder = layout.machine(machine)
    # The name is the server's, but it becomes a path here.
    if folder.parent != layout.machines or not folder.is_dir():
        return 0, None
    numbers = sorted((int(entry.name) for entry in folder.iterdir() if entry.name.isdecimal()), reverse=True)
    for number in numbers:
        try:
            spec = msgspec.json.decode(layout.spec(machine, number).read_bytes(), type=_Spec)
        except FileNotFoundError:
            continue
        return number, spec.runtime
    return 0, None
