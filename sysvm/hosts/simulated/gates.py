"""The ports of simulated machines that have kernels of their own, as VMs have: what is shut is heard by nobody.

The driver holds which they are, as a real host's kernel does: it outlives the host agent, and is gone with a reboot.
"""

import math

from sysvm.hosts.simulated.driver import SimulatedDriver


class SimulatedGates:
    """Satisfies carrying.Gates."""

    def __init__(self, driver: SimulatedDriver) -> None:
        self._driver = driver

    def has(self, machine: str, incarnation: int) -> bool:
        """See Gates."""
        return self._driver.apart and self._driver.life(machine, incarnation) is not None

    async def is_open(self, machine: str, incarnation: int) -> bool:
        """See Gates."""
        return self._driver.is_open(machine, incarnation)

    async def freeze(self, machine: str, incarnation: int, seconds: float) -> None:
        """See Gates."""
        self._driver.shut[machine, incarnation] = self._driver.world.clock.now() + seconds

    async def serve(self, machine: str, incarnation: int) -> None:
        """See Gates."""
        for number in self._driver.incarnations(machine):
            # Containers of a router have the same ports.
            self._driver.shut_for_good(machine, number, number != incarnation and self._driver.apart)

    async def shut(self, machine: str, incarnation: int) -> None:
        """See Gates."""
        self._driver.shut[machine, incarnation] = math.inf
