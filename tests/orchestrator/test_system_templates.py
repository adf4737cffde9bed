"""Another system VM template: registered, brought to primary storage, named; who takes it, and when."""

from typing import Any

from sysvm.store import tables
from tests.api.stage import refusal
from tests.orchestrator.tale import Tale, registered, status, tell

SETTING = "router.template.kvm"  # simulated hosts stand for those of KVM


async def prepared(tale: Tale, kind: str, name: str = "next") -> dict[str, Any]:
    """A template of system VMs that every host has taken in."""
    template = await registered(tale, templatetype=kind, name=name)
    await status(tale, template, ends=("Download Complete",))
    zone = await tale.one("listZones")
    await tale.ask("prepareTemplate", templateid=template["id"], zoneid=zone["id"])
    await tale.until(lambda tx: {("ready",)} == set(tx.sql("select state from pool_image")))
    return template


async def router(tale: Tale) -> dict[str, Any]:
    """The router of a new network, running."""
    zone, offering, network = await tale.one("listZones"), await tale.offering(), await tale.network()
    await tale.job("deployVirtualMachine", zoneid=zone["id"], serviceofferingid=offering["id"],
                   networkids=network["id"], templateid="5b0f2f3c-0000-4000-8000-000000000001")  # fmt: skip
    found: dict[str, Any] = await tale.one("listRouters", networkid=network["id"])
    return found


async def about_templates(tale: Tale) -> list[str]:
    return [text for text in await tale.alerts() if SETTING in text]


async def versions(tale: Tale) -> set[str]:
    return {row["version"] for row in await tale.ask("listSystemVms")}


def test_routers_take_the_template_that_is_named_when_they_are_made_or_upgraded():
    """Proxies and secondary storage VMs do not mind it."""

    async def story(tale: Tale) -> None:
        await tale.system_vms(2)
        zone = await tale.one("listZones")
        old = await router(tale)
        with refusal(431, "No system VM template called 'next' is ready"):
            await tale.ask("updateConfiguration", name=SETTING, value="next", zoneid=zone["id"])
        template = await prepared(tale, "ROUTING")
        (row,) = await tale.rows(tables.template, tables.template.c.uuid == template["id"])
        await tale.ask("updateConfiguration", name=SETTING, value="next", zoneid=zone["id"])
        new = await router(tale)
        assert ("simulated", row.version) == (old["version"], new["version"])
        assert new["templateid"] == template["id"]
        assert "simulated" == (await tale.one("listRouters", id=old["id"]))["version"]
        (job,) = await tale.ask("upgradeRouterTemplate", id=old["id"])
        await tale.until(lambda tx: tx.sql("select 1 from job where uuid = :id and status = 1", id=job["jobid"]))
        assert row.version == (await tale.one("listRouters", id=old["id"]))["version"]
        assert {"simulated"} == await versions(tale)
        assert [] == await about_templates(tale)

    tell(story, hosts=2)


def test_a_name_that_fits_nothing_any_more_is_told_and_routers_run_what_there_is():
    async def story(tale: Tale) -> None:
        await tale.system_vms(2)
        zone = await tale.one("listZones")
        template = await prepared(tale, "ROUTING")
        await tale.ask("updateConfiguration", name="router.template.KVM", value="next", zoneid=zone["id"])
        await tale.job("deleteTemplate", id=template["id"])
        assert "simulated" == (await router(tale))["version"]
        (said,) = await about_templates(tale)
        assert said.startswith("router.template.kvm names 'next', and no such template is ready in the zone")

    tell(story)


def test_routers_wait_for_a_named_template_that_is_on_its_way_to_their_host():
    """Naming it brings it, whether or not anybody has prepared it."""

    async def story(tale: Tale) -> None:
        await tale.system_vms(2)
        template = await registered(tale, templatetype="ROUTING", name="next")
        await status(tale, template, ends=("Download Complete",))
        for host in tale.cloud.earth.hosts.values():
            host.storage.fetch_s = 120
        await tale.ask("updateConfiguration", name=SETTING, value="next")
        found = await router(tale)
        (row,) = await tale.rows(tables.template, tables.template.c.uuid == template["id"])
        assert row.version == found["version"] != "simulated"

    tell(story)


def test_proxies_and_secondary_storage_vms_follow_the_newest_template_of_kind_system():
    """At their next life; routers, too, as long as no other one is named for them."""

    async def story(tale: Tale) -> None:
        first, _ = await tale.system_vms(2)
        template = await prepared(tale, "SYSTEM")
        (row,) = await tale.rows(tables.template, tables.template.c.uuid == template["id"])
        assert {"simulated"} == await versions(tale)
        await tale.job("destroySystemVm", id=first["id"])
        await tale.until(lambda tx: 2 == len(tx.sql("select 1 from machine where removed is null and agent_up")))
        assert {"simulated", row.version} == await versions(tale)
        assert row.version == (await router(tale))["version"]

    tell(story)


def test_prepare_template_says_how_far_each_primary_storage_is():
    async def story(tale: Tale) -> None:
        await tale.system_vms(2)
        zone = await tale.one("listZones")
        template = await registered(tale, templatetype="ROUTING", name="next")
        await status(tale, template, ends=("Download Complete",))
        for host in tale.cloud.earth.hosts.values():
            host.storage.fetch_s = 120
        asked = {"templateid": template["id"], "zoneid": zone["id"]}
        await tale.ask("prepareTemplate", **asked)
        await tale.until(lambda tx: tx.sql("select 1 from pool_image where progress > 0.4"))
        (shown,) = await tale.ask("prepareTemplate", **asked)
        assert ["100", "50", "50"] == [one["downloadPercent"] for one in shown["downloaddetails"]]
        await tale.until(lambda tx: {("ready",)} == set(tx.sql("select state from pool_image")))
        (shown,) = await tale.ask("prepareTemplate", **asked)
        assert ["DOWNLOADED"] * 3 == [one["downloadState"] for one in shown["downloaddetails"]]

    tell(story, hosts=2)
