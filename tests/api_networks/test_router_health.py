"""Health checks of routers by the API, and templates that are too old: one verdict for lists, results, events and alerts."""

import asyncio
import json
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries import router_health
from sysvm.wire.health import Checked, Checks, HealthReport
from sysvm.wire.link import HostFacts
from tests.api.rows import assert_row_matches_catalogue
from tests.api.stage import refusal
from tests.api_networks.land import Land


@pytest.fixture
async def router(land: Land) -> dict[str, Any]:
    """A running router."""
    network = await land.network()
    await land.implemented(network["id"])
    (row,) = await land.admin("listRouters", listall=True)
    return row


def report(**results: bool | None) -> HealthReport:
    """What a router tells; names are in the words of their checks, without the end."""
    checks = [
        Checked(name=f"{name}_check.py", kind=Checks.ADVANCED, good=good, details=f"{name} was looked at", at=1.7e9)
        for name, good in results.items()
    ]
    return HealthReport(checks=tuple(checks))


async def told(land: Land, router: dict[str, Any], **results: bool | None) -> None:
    """The router has told."""
    await land.stage.store.run(lambda tx: router_health.heard(tx, router["id"], report(**results)))


async def texts(land: Land, table: sa.Table, column: str) -> list[str]:
    """Of events or of unresolved alerts about health."""
    query = sa.select(table.c[column]).order_by(table.c.id)
    if table is tables.event:
        query = query.where(table.c.type == "ROUTER.HEALTH.CHECKS")
    else:
        query = query.where(table.c.resolved.is_(None))
    return [row[0] for row in await land.rows(query)]


async def test_a_failing_check_is_one_verdict_everywhere(land: Land, router: dict[str, Any]):
    await told(land, router, dns=False, dhcp=True, haproxy=None)
    await told(land, router, dns=False, dhcp=True, haproxy=None)
    (row,) = await land.admin("listRouters", listall=True, healthchecksfailed=True, fetchhealthcheckresults=True)
    assert_row_matches_catalogue("listRouters", row)
    assert row["healthchecksfailed"] is True
    found = (await land.admin.ask("getRouterHealthCheckResults", routerid=router["id"])).json
    answer = found["getrouterhealthcheckresultsresponse"]["routerhealthchecks"]
    assert (router["id"], row["healthcheckresults"]) == (answer["routerid"], answer["healthchecks"])
    by_name = {one["checkname"]: one for one in answer["healthchecks"]}
    assert {"dns_check.py": False, "dhcp_check.py": True, "haproxy_check.py": None, "router_version_check.py": True} == {
        name: one.get("success") for name, one in by_name.items()
    }
    assert ("advanced", "dns was looked at") == (by_name["dns_check.py"]["checktype"], by_name["dns_check.py"]["details"])
    assert [f"Router {router['name']} has failing checks: dns_check.py"] == await texts(land, tables.event, "description")
    subject = f"Health checks failed: 1 failing checks on router {router['name']} / {router['id']}"
    assert [subject] == await texts(land, tables.alert, "subject")


async def test_when_all_is_well_again_nothing_is_left_of_it(land: Land, router: dict[str, Any]):
    await told(land, router, dns=False)
    await told(land, router, dns=False, dhcp=False)
    assert 1 == len(await texts(land, tables.alert, "subject"))
    await told(land, router, dns=True, dhcp=True)
    assert [] == await texts(land, tables.alert, "subject")
    assert [] == await land.admin("listRouters", listall=True, healthchecksfailed=True)
    (row,) = await land.admin("listRouters", listall=True, healthchecksfailed=False)
    assert (False, False) == (row["healthchecksfailed"], "healthcheckresults" in row)


async def test_a_check_that_is_named_replaces_the_router_once(land: Land, router: dict[str, Any]):
    await land.admin("updateConfiguration", name="router.health.checks.failures.to.recreate.vr", value="dns_check.py")
    incarnation = sa.select(tables.machine.c.incarnation).where(tables.machine.c.uuid == router["id"])
    await told(land, router, dhcp=False)
    assert 1 == (await land.rows(incarnation))[0][0]
    await told(land, router, dns=False)
    await told(land, router, dns=False)
    assert 2 == (await land.rows(incarnation))[0][0]
    assert any(text.startswith(f"Recreating router {router['name']}") for text in await texts(land, tables.event, "description"))


async def test_fresh_checks_are_made_before_the_answer(land: Land, router: dict[str, Any]):
    async def answer() -> None:
        for _ in range(10_000):
            if tasks := await land.rows(sa.select(tables.task)):
                break
            await asyncio.sleep(0)
        result = json.dumps(msgspec.to_builtins(report(dns=True)))
        await land.stage.store.run(lambda tx: tx.update(tables.task, tasks[0].id, state="done", result=result))

    asked = land.admin("getRouterHealthCheckResults", routerid=router["id"], performfreshchecks=True)
    found, _ = await asyncio.gather(asked, answer())
    assert ["dns_check.py", "router_version_check.py"] == [one["checkname"] for one in found["healthchecks"]]


async def test_checks_that_are_switched_off_are_refused(land: Land, router: dict[str, Any]):
    await land.admin("updateConfiguration", name="router.health.checks.enabled", value="false")
    with refusal(530, "Router health checks are not enabled"):
        await land.admin("getRouterHealthCheckResults", routerid=router["id"])


# ---------------------------------------------------------------- versions
async def test_a_router_that_is_too_old_takes_no_rules_until_it_is_upgraded(land: Land, router: dict[str, Any]):
    ip = await land.public_ip({"id": router["guestnetworkid"]})
    await land.set_machine(router["id"], template_version="0.9.0")
    rule = {"ipaddressid": ip["id"], "protocol": "tcp", "startport": 80, "endport": 80}
    with refusal(534, "Unable to send command. Router requires upgrade"):
        await land.admin("createFirewallRule", **rule)
    (row,) = await land.admin("listRouters", listall=True)
    assert row["requiresupgrade"] is True
    await land.admin("updateConfiguration", name="router.version.check", value="false")
    assert "jobid" in await land.admin("createFirewallRule", **rule)


async def test_routers_with_an_old_template_are_replaced_each_by_a_job(land: Land, router: dict[str, Any]):
    with refusal(431, "Multiple parameters not supported"):
        await land.admin("upgradeRouterTemplate", id=router["id"], zoneid=land.zone)
    with refusal(431, "Missing parameter"):
        await land.admin("upgradeRouterTemplate")
    facts = HostFacts(name="h", cpus=1, cpu_mhz=1, memory_bytes=1, kernel="6", templates=("0.9.0", "1.0.0"))
    await land.stage.store.run(lambda tx: tx.change(sa.update(tables.host).values(facts=msgspec.to_builtins(facts))))
    await land.set_machine(router["id"], template_version="1.0.0", runtime="simulated")
    assert {} == await land.admin("upgradeRouterTemplate", zoneid=land.zone)
    await land.set_machine(router["id"], template_version="0.9.0")
    (job,) = await land.admin("upgradeRouterTemplate", zoneid=land.zone)
    assert [("machine", "running")] == await land.open_parts(job["jobid"])
    (row,) = await land.rows(sa.select(tables.machine).where(tables.machine.c.uuid == router["id"]))
    assert (2, "running") == (row.incarnation, row.wanted)
    (row,) = await land.rows(sa.select(tables.job).where(tables.job.c.uuid == job["jobid"]))
    assert "rebootRouter" == row.command
