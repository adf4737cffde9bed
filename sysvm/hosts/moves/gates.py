"""The ports of system VMs as gates: of the incarnations of a router one is heard, the others' ports are shut in the guard.

Where they are is derived from the specs on disk; whether they are shut is asked of the kernel. Containers of a router share
the ports of their kept namespace, so that none of them has ports of its own: their agents agree on who writes (agent/right.py).
All of them are shut when another host's incarnation is heard.
"""

from sysvm.hosts.layout import Layout
from sysvm.hosts.lxc.driver import port_incarnation, read_spec
from sysvm.hosts.network.host import HostNetwork
from sysvm.hosts.specs import SpecsOnDisk
from sysvm.wire.machines import Runtime


class PortGates:
    """Satisfies carrying.Gates."""

    def __init__(self, layout: Layout, network: HostNetwork) -> None:
        self._layout = layout
        self._network = network
        self._specs = SpecsOnDisk(layout)

    def has(self, machine: str, incarnation: int) -> bool:
        """See Gates."""
        spec = read_spec(self._layout, machine, incarnation)
        return spec is not None and spec.runtime is Runtime.VM

    async def is_open(self, machine: str, incarnation: int) -> bool:
        """See Gates."""
        shut = await self._network.shut_ports()
        return not shut & set(self._ports(machine, incarnation))

    async def freeze(self, machine: str, incarnation: int, seconds: float) -> None:
        """See Gates."""
        await self._network.freeze_ports(tuple(self._ports(machine, incarnation)), seconds)

    async def serve(self, machine: str, incarnation: int) -> None:
        """See Gates."""
        mine = self._ports(machine, incarnation)
        others = [number for number in self._specs.incarnations(machine) if number != incarnation]
        theirs = [port for number in others for port in self._ports(machine, number) if port not in mine]
        await self._network.switch_ports(tuple(mine.items()), theirs)

    async def shut(self, machine: str, incarnation: int) -> None:
        """See Gates."""
        await self._network.switch_ports((), tuple(self._ports(machine, incarnation)))

    def _ports(self, machine: str, incarnation: int) -> dict[str, str]:
        """Port -> the MAC behind it."""
        spec = read_spec(self._layout, machine, incarnation)
        if spec is None:
            return {}
        number = port_incarnation(spec) if spec.runtime is Runtime.CONTAINER else incarnation
        return {self._layout.port(machine, number, nic.device): nic.mac for nic in spec.nics}
