"""What random people want of a small cloud, through the API: guests, rules, restarts, settings; drawn from one seed."""

import random
from collections.abc import Awaitable, Callable
from typing import Any

from tests.api.stage import ApiError
from tests.simulation.client import Client
from tests.simulation.cloud import Cloud
from tests.simulation.weather import Weather

MOST_GUESTS = 5
NETWORKS = 2
MEAN_BETWEEN_S = 3.0
TEMPLATE = "5b0f2f3c-0000-4000-8000-000000000001"


class Tenants:
    """Everybody who wants something."""

    def __init__(self, cloud: Cloud, weather: Weather) -> None:
        self._cloud = cloud
        self._weather = weather
        self._rng: random.Random = weather.rng
        self._client = Client(cloud)
        self._ask = self._client.ask
        self._zone = ""
        self._offering = ""
        self._networks: list[str] = []
        self._addresses: list[str] = []
        self._named = 0

    async def settle_in(self) -> None:
        """Offerings and networks; nobody waits for anything."""
        self._zone = (await self._client.one("listZones"))["id"]
        offering = await self._ask("createServiceOffering", name="g", displaytext="g", cpunumber=1, cpuspeed=500, memory=128)
        self._offering = offering["id"]
        of = await self._client.one("listNetworkOfferings", name="DefaultIsolatedNetworkOfferingWithSourceNatService")
        for number in range(NETWORKS):
            given = {"zoneid": self._zone, "name": f"n{number}", "displaytext": "n", "networkofferingid": of["id"]}
            self._networks.append((await self._ask("createNetwork", **given))["id"])

    async def want(self, seconds: float) -> None:
        """One wish after the other, for so long."""
        end = self._cloud.clock.now() + seconds
        while self._cloud.clock.now() < end:
            await self._cloud.clock.sleep(self._rng.expovariate(1 / MEAN_BETWEEN_S))
            wish = self._rng.choice(WISHES)
            try:
                self._weather.tell(f"wish: {wish.__name__} {await wish(self)}")
            except ApiError as refused:
                assert "internal error" not in refused.text.lower(), f"{wish.__name__}: {refused}"
                self._weather.tell(f"wish: {wish.__name__} is refused: {refused.text}")

    async def _call(self, command: str, **params: Any) -> str:
        await self._ask(command, **params)
        return " ".join(f"{name}={value}" for name, value in params.items() if "id" not in name)

    async def _some(self, command: str, **params: Any) -> dict[str, Any]:
        """Any row of a list. Raises ApiError when there is none."""
        rows = await self._ask(command, **params)
        if not rows:
            raise ApiError(431, f"{command} is empty", "")
        row: dict[str, Any] = self._rng.choice(rows)  # in the order of the API, which is the same each time
        return row

    # ------------------------------------------------------------ guests
    async def deploy(self) -> str:
        """One more guest, if there are not too many."""
        if len(await self._ask("listVirtualMachines")) >= MOST_GUESTS:
            return "too many"
        self._named += 1
        return await self._call(
            "deployVirtualMachine", name=f"g{self._named}", zoneid=self._zone, serviceofferingid=self._offering,
            networkids=self._rng.choice(self._networks), templateid=TEMPLATE,
        )  # fmt: skip

    async def stop(self) -> str:
        """A guest, by force or not."""
        guest = await self._some("listVirtualMachines")
        return await self._call("stopVirtualMachine", id=guest["id"], forced=self._rng.random() < 0.3)

    async def start(self) -> str:
        """A guest."""
        return await self._call("startVirtualMachine", id=(await self._some("listVirtualMachines"))["id"])

    async def reboot(self) -> str:
        """A guest: its next incarnation."""
        return await self._call("rebootVirtualMachine", id=(await self._some("listVirtualMachines"))["id"])

    async def destroy(self) -> str:
        """A guest, for good."""
        guest = await self._some("listVirtualMachines")
        return await self._call("destroyVirtualMachine", id=guest["id"], expunge=True)

    # ------------------------------------------------------------ networks
    async def open_port(self) -> str:
        """A forward to a guest of the network, on its source NAT address."""
        guest = await self._some("listVirtualMachines")
        network = guest["nic"][0]["networkid"]
        address = await self._some("listPublicIpAddresses", associatednetworkid=network)
        port = self._rng.randint(1, 60000)
        return await self._call(
            "createPortForwardingRule", ipaddressid=address["id"], protocol="tcp", publicport=port, privateport=port,
            virtualmachineid=guest["id"],
        )  # fmt: skip

    async def close_port(self) -> str:
        """Some forward."""
        return await self._call("deletePortForwardingRule", id=(await self._some("listPortForwardingRules"))["id"])

    async def egress(self) -> str:
        """Somewhere to go."""
        port = self._rng.randint(1, 60000)
        network = self._rng.choice(self._networks)
        return await self._call("createEgressFirewallRule", networkid=network, protocol="tcp", startport=port, endport=port)

    async def restart_network(self) -> str:
        """With clean-up or without."""
        network = self._rng.choice(self._networks)
        return await self._call("restartNetwork", id=network, cleanup=self._rng.random() < 0.6)

    async def take_address(self) -> str:
        """One more for a network."""
        return await self._call("associateIpAddress", networkid=self._rng.choice(self._networks))

    async def give_address(self) -> str:
        """Back, with all its rules."""
        address = await self._some("listPublicIpAddresses", issourcenat=False)
        return await self._call("disassociateIpAddress", id=address["id"])

    # ------------------------------------------------------------ the operator
    async def reboot_router(self) -> str:
        """Its next incarnation."""
        return await self._call("rebootRouter", id=(await self._some("listRouters"))["id"])

    async def destroy_system_vm(self) -> str:
        """The zone makes a new one."""
        return await self._call("destroySystemVm", id=(await self._some("listSystemVms"))["id"])

    async def settings(self) -> str:
        """How long an empty network keeps its router."""
        value = self._rng.choice([5, 20, 60])
        await self._ask("updateConfiguration", name="network.gc.wait", value=value)
        return str(value)


WISHES: list[Callable[[Tenants], Awaitable[str]]] = [
    Tenants.deploy, Tenants.deploy, Tenants.deploy, Tenants.stop, Tenants.start, Tenants.start, Tenants.reboot,
    Tenants.destroy, Tenants.open_port, Tenants.open_port, Tenants.close_port, Tenants.egress, Tenants.restart_network,
    Tenants.take_address, Tenants.give_address, Tenants.reboot_router, Tenants.destroy_system_vm, Tenants.settings,
]  # fmt: skip
