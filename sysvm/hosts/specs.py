"""What this host has been asked to have, read from its disk: known even when no driver can be asked."""

from collections.abc import Mapping

from sysvm.hosts.layout import Layout
from sysvm.hosts.lxc.driver import read_spec
from sysvm.wire.machines import Runtime


class SpecsOnDisk:
    """Satisfies service.Specs. Drivers write an incarnation's spec before everything else, and remove it last."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def machines(self) -> tuple[str, ...]:
        """See Specs."""
        folder = self._layout.machines
        return tuple(sorted(entry.name for entry in folder.iterdir())) if folder.is_dir() else ()

    def incarnations(self, machine: str) -> Mapping[int, Runtime]:
        """See Specs."""
        folder = self._layout.machine(machine)
        numbers = [int(entry.name) for entry in folder.iterdir() if entry.name.isdigit()] if folder.is_dir() else []
        specs = {number: read_spec(self._layout, machine, number) for number in sorted(numbers)}
        return {number: spec.runtime for number, spec in specs.items() if spec is not None}
