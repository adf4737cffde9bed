"""What becomes of a rule while its network's router is not there to take it: kept, waited for, or refused."""

from typing import Any

import pytest
import sqlalchemy as sa

from sysvm.store import tables
from tests.api.stage import refusal
from tests.api_networks.land import Land


@pytest.fixture
async def router(land: Land) -> Any:
    """The router of an implemented network with one guest."""
    made = await land.network()
    await land.deploy(networkids=made["id"], name="web")
    await land.implemented(made["id"])
    (row,) = await land.rows(sa.select(tables.machine).where(tables.machine.c.kind == "router"))
    return row


async def _host_is(land: Land, router: Any, state: str) -> None:
    """The router's host, as the evidence has it."""
    (host,) = await land.rows(sa.select(tables.host).limit(1))
    await land.set_machine(router.uuid, host_id=host.id, power="running")
    await land.stage.store.run(lambda tx: tx.update(tables.host, host.id, state=state))


async def _add(land: Land) -> Any:
    (address,) = await land.admin("listPublicIpAddresses", issourcenat=True)
    return await land.admin("createFirewallRule", ipaddressid=address["id"], protocol="tcp", startport=80)


async def test_a_router_that_cannot_be_reached_for_a_minute_takes_no_rules_and_nothing_is_changed(land: Land, router: Any):
    await _host_is(land, router, "Alert")
    with refusal(534, "Unable to apply rules on disconnected router"):
        await _add(land)
    assert [] == await land.admin("listFirewallRules")


@pytest.mark.parametrize("state", ["Up", "Disconnected"])
async def test_a_link_that_is_lost_for_a_moment_is_no_evidence(land: Land, router: Any, state: str):
    await _host_is(land, router, state)
    accepted = await _add(land)
    assert [("machine", "live")] == await land.open_parts(accepted["jobid"])


@pytest.mark.parametrize("power", ["absent", "starting", "stopped"])
async def test_while_a_router_starts_rules_are_accepted_and_their_jobs_wait(land: Land, router: Any, power: str):
    await _host_is(land, router, "Alert")
    await land.set_machine(router.uuid, power=power)
    accepted = await _add(land)
    assert [("machine", "live")] == await land.open_parts(accepted["jobid"])


async def test_rules_of_a_stopped_router_are_kept(land: Land, router: Any):
    await _host_is(land, router, "Alert")
    await land.set_machine(router.uuid, wanted="stopped", power="stopped")
    accepted = await _add(land)
    assert [] == await land.open_parts(accepted["jobid"]), "nothing to wait for"
    assert 1 == len(await land.admin("listFirewallRules"))
