"""Networks with two routers, as rows: who may have them, what a job waits for, and what each router is told of the other one."""

from typing import Any

import pytest

from sysvm.store import tables
from sysvm.store.queries import machines, router_pairs
from sysvm.store.store import Row, Tx
from tests.api.stage import refusal
from tests.api_networks.land import Land

SERVICES = ("Dhcp", "Dns", "SourceNat", "PortForwarding", "Firewall")
REDUNDANT = {
    "servicecapabilitylist__0__service": "SourceNat",
    "servicecapabilitylist__0__capabilitytype": "RedundantRouter",
    "servicecapabilitylist__0__capabilityvalue": "true",
}


async def offering(land: Land, name: str, **params: Any) -> str:
    """An enabled network offering; its id."""
    providers = {f"serviceproviderlist__{at}__service": each for at, each in enumerate(SERVICES)}
    providers |= {f"serviceproviderlist__{at}__provider": "VirtualRouter" for at in range(len(SERVICES))}
    given = {"name": name, "displaytext": name, "guestiptype": "Isolated", "traffictype": "Guest", "enable": True,
             "supportedservices": SERVICES, **providers}  # fmt: skip
    return str((await land.admin("createNetworkOffering", **{**given, **params}))["id"])


@pytest.fixture
async def pair(land: Land) -> dict[str, Any]:
    """A redundant network that was implemented with one router."""
    made = await land.network(networkofferingid=await offering(land, "pair", **REDUNDANT))
    return await land.implemented(made["id"])


async def router_of(land: Land, network: dict[str, Any]) -> Row:
    """Its only one."""

    def find(tx: Tx) -> Row:
        (row,) = tx.rows(tables.network, "uuid = :uuid", uuid=network["id"])
        (router,) = machines.routers_of(tx, row.id)
        return router

    return await land.stage.store.read(find)


async def test_a_network_of_a_redundant_offering_says_so(land: Land, pair: dict[str, Any]):
    assert pair["redundantrouter"] is True
    assert (await land.network(name="single"))["redundantrouter"] is False


async def test_a_router_is_made_one_of_a_pair_and_not_replaced(land: Land, pair: dict[str, Any]):
    accepted = await land.admin("restartNetwork", id=pair["id"], makeredundant=True)
    assert "machine running" not in [" ".join(part) for part in await land.open_parts(accepted["jobid"])]
    router = await router_of(land, pair)
    assert 1 == router.incarnation


async def test_one_of_a_pair_has_an_address_of_its_own_and_shares_the_rest(land: Land, pair: dict[str, Any]):
    router = await router_of(land, pair)
    await land.stage.store.run(lambda tx: router_pairs.join(tx, router))

    said = await land.stage.store.read(lambda tx: router_pairs.facts(tx, tx.get(tables.machine, router.id)))  # type: ignore[arg-type]
    assert said is not None
    assert said.own.startswith("10.1.1.")
    assert "10.1.1.1" != said.own
    assert "10.1.1.1/24" == said.shared[0]
    assert "" == said.peer


async def test_a_pair_does_not_go_over_to_an_offering_for_one_router(land: Land, pair: dict[str, Any]):
    single = await offering(land, "single")
    with refusal(431, "has redundant routers"):
        await land.admin("updateNetwork", id=pair["id"], networkofferingid=single)


async def test_redundant_routers_serve_no_ipv6(land: Land):
    await land.admin("updateConfiguration", name="ipv6.offering.enabled", value=True)
    with refusal(431, "Dual stack networks have one router"):
        await offering(land, "dual", internetprotocol="DualStack", **REDUNDANT)
