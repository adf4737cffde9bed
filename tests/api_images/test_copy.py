"""copyTemplate and copyIso between two zones of a simulated cloud."""

from typing import Any

import sqlalchemy as sa

from sysvm.basics.errors import Refused
from sysvm.hosts.simulated.agents import usual_outcome
from sysvm.store import tables
from sysvm.wire import channel
from tests.api.stage import refusal
from tests.api_images.test_extract import registered, states
from tests.orchestrator.tale import Tale, tell


async def two_zones(tale: Tale) -> tuple[str, str]:
    """Both have their system VMs."""
    await tale.system_vms(2)
    first = (await tale.one("listZones"))["id"]
    await tale.cloud.store.run(lambda tx: tx.change(sa.delete(tables.setting)))  # those of the simulation come again
    await tale.cloud.zone(hosts=2)
    await tale.system_vms(4)
    (second,) = [row["id"] for row in await tale.ask("listZones") if row["id"] != first]
    return first, second


def watched(tale: Tale, fail: tuple[str, ...] = ()) -> list[channel.Download]:
    """What secondary storage VMs are told to fetch from now on."""
    asked: list[channel.Download] = []

    def outcome(body: channel.TaskBody) -> Any:
        if isinstance(body, channel.Download):
            asked.append(body)
            if body.peer and fail:
                raise Refused(fail[0])
        return usual_outcome(body)

    for host in tale.cloud.earth.hosts.values():
        host.agents.outcome = outcome
    return asked


def test_another_zone_takes_the_image_from_the_first_ones_secondary_storage_vm() -> None:
    async def story(tale: Tale) -> None:
        first, second = await two_zones(tale)
        template = await registered(tale, zoneid=first)
        (worker,) = await tale.ask("listSystemVms", systemvmtype="secondarystoragevm", zoneid=first)
        asked = watched(tale)
        got = await tale.job("copyTemplate", id=template["id"], sourcezoneid=first, destzoneid=second)
        assert (got["zoneid"], got["isready"]) == (second, True)
        (body,) = asked
        assert body.url.startswith(f"http://{worker['publicip']}/userdata/")
        assert body.peer == worker["publicip"]
        one, two = await tale.rows(tables.template_copy, tables.template_copy.c.sha256 != "")
        assert (one.sha256, two.sha256) == (two.sha256, body.checksum.removeprefix("{SHA-256}"))
        assert one.zone_id != two.zone_id

    tell(story)


def test_where_the_first_zone_cannot_be_reached_the_source_is_asked() -> None:
    async def story(tale: Tale) -> None:
        first, second = await two_zones(tale)
        template = await registered(tale, zoneid=first)
        asked = watched(tale, fail=("the source answers 404: is the URL right?",))
        await tale.ask("copyTemplate", id=template["id"], destzoneids=second)
        await tale.until(lambda tx: states(tx, template["id"]) == ["DOWNLOADED", "DOWNLOADED"])
        assert [bool(body.peer) for body in asked] == [True, False]
        assert asked[1].url == "http://example.org/tiny.qcow2"

    tell(story)


def test_what_cannot_be_copied_is_told() -> None:
    async def story(tale: Tale) -> None:
        first, second = await two_zones(tale)
        template = await registered(tale, zoneid=first)
        with refusal(431, "nothing to copy"):
            await tale.ask("copyTemplate", id=template["id"], sourcezoneid=second, destzoneid=first)
        with refusal(431, "different zones"):
            await tale.ask("copyTemplate", id=template["id"], sourcezoneid=first, destzoneid=first)
        with refusal(431, "destzoneid or destzoneids"):
            await tale.ask("copyTemplate", id=template["id"])

    tell(story)
