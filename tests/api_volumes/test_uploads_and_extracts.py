"""Volumes that come and go by URL, over a whole simulated server: uploaded, attached, downloaded, and what stays nowhere."""

from typing import Any
from urllib.parse import urlsplit

import pytest

from sysvm.basics.errors import Refused
from sysvm.hosts.simulated.agents import usual_outcome
from sysvm.store import tables
from sysvm.store.queries import keys
from sysvm.store.store import Row, Tx
from sysvm.wire import channel
from sysvm.wire.grants import check_link, check_upload
from tests.api.rows import assert_row_matches_catalogue
from tests.api.stage import refusal
from tests.orchestrator.tale import Tale, tell

GIVEN = {"name": "mine", "format": "QCOW2"}
URL = "http://example.org/data.qcow2"


async def zone(tale: Tale) -> str:
    """A zone that is up, with primary storage on its host; its id."""
    await tale.system_vms(2)

    def pool(tx: Tx) -> None:
        for host in tx.rows(tables.host, "removed is null"):
            tx.insert(
                tables.storage_pool, uuid=tale.cloud.ids.uuid(), zone_id=tale.zone_id, host_id=host.id, name="p",
                path="/pool", scope="HOST", created=tx.now,
            )  # fmt: skip

    await tale.cloud.store.run(pool)
    return str((await tale.one("listZones"))["id"])


async def came(tale: Tale, uuid: str, state: str) -> dict[str, Any]:
    """The volume, when it has come to this state."""
    await tale.until(lambda tx: tx.rows(tables.volume, "uuid = :uuid and state = :state", uuid=uuid, state=state))
    return dict(await tale.one("listVolumes", id=uuid, listall="true"))


async def guest(tale: Tale) -> str:
    """A running guest."""
    (first, *_) = await tale.ask("listZones")
    (template, *_) = await tale.ask("registerTemplate", name="t", displaytext="t", format="QCOW2", hypervisor="Simulator",
                                    zoneid=first["id"], url="http://example.org/t.qcow2")  # fmt: skip
    await tale.until(lambda tx: not tx.rows(tables.template_copy, "state not in ('DOWNLOADED', 'BYPASSED')"))
    made = await tale.job("deployVirtualMachine", serviceofferingid=(await tale.offering())["id"], zoneid=first["id"],
                          templateid=template["id"], networkids=(await tale.network())["id"])  # fmt: skip
    return str(made["id"])


def told(tale: Tale) -> list[tuple[str, tuple[str, ...]]]:
    """What volumes hosts have been told to fill, and with which images."""
    return [one for host in tale.cloud.earth.hosts.values() for one in host.storage.restored]


def heard(tale: Tale) -> list[channel.TaskBody]:
    """What secondary storage VMs are asked for from now on."""
    asked: list[channel.TaskBody] = []

    def outcome(body: channel.TaskBody) -> Any:
        asked.append(body)
        return usual_outcome(body)

    for host in tale.cloud.earth.hosts.values():
        host.agents.outcome = outcome
    return asked


async def images(tale: Tale) -> list[Row]:
    """Copies of uploaded volumes that somebody still wants."""
    rows = await tale.rows(tables.template_copy, tables.template_copy.c.removed.is_(None))
    kinds = {row.id: row.kind for row in await tale.rows(tables.template)}
    return [row for row in rows if kinds[row.template_id] == "VOLUME"]


async def no_image(tale: Tale) -> None:
    """Waits until none is left."""
    for _ in range(100):
        if not await images(tale):
            return
        await tale.cloud.clock.sleep(1)
    raise AssertionError("the image stays")


def test_a_volume_by_url_is_attached_as_any_other_and_its_image_goes() -> None:
    async def story(tale: Tale) -> None:
        there = await zone(tale)
        asked = heard(tale)
        made = await tale.job("uploadVolume", **GIVEN, zoneid=there, url=URL)
        assert ("UploadOp", "DATADISK") == (made["state"], made["type"])
        found = await came(tale, made["id"], "Uploaded")
        assert 10 << 20 == found["size"]
        assert_row_matches_catalogue("listVolumes", found)
        assert [] == [row for row in await tale.ask("listTemplates", templatefilter="all") if row["name"] == "mine"]
        with refusal(431, "Invalid parameter"):
            await tale.ask("deleteTemplate", id=made["id"])
        machine = await guest(tale)
        attached = await tale.job("attachVolume", id=made["id"], virtualmachineid=machine)
        assert ("Ready", machine) == (attached["state"], attached["virtualmachineid"])
        assert [(made["id"], (made["id"],))] == list(dict.fromkeys(told(tale)))
        await tale.until(lambda tx: not tx.rows(tables.volume, "image_id is not null"))
        await tale.until(lambda tx: any(isinstance(body, channel.DeleteImage) for body in asked))
        await no_image(tale)

    tell(story)


def test_the_bytes_of_an_upload_are_signed_for_and_then_there() -> None:
    async def story(tale: Tale) -> None:
        there = await zone(tale)
        got = await tale.ask("getUploadParamsForVolume", **GIVEN, zoneid=there, checksum="{SHA-256}" + "0" * 64)
        assert urlsplit(got["postURL"]).path == f"/upload/{got['id']}"
        key = await tale.cloud.store.run(lambda tx: keys.ticket_key(tx, tale.cloud.vault, tale.cloud.ids))
        said = (f"/upload/{got['id']}", got["metadata"], got["expires"])
        check_upload(key, got["signature"], said, tale.cloud.clock.now())
        assert "Uploaded" == (await came(tale, got["id"], "Uploaded"))["state"]
        await tale.job("destroyVolume", id=got["id"])
        await no_image(tale)

    tell(story)


def test_an_upload_that_fails_says_why_and_can_be_deleted_only() -> None:
    async def story(tale: Tale) -> None:
        there = await zone(tale)
        machine = await guest(tale)

        def outcome(body: channel.TaskBody) -> Any:
            raise Refused("the checksum is wrong")

        for host in tale.cloud.earth.hosts.values():
            host.agents.outcome = outcome
        made = await tale.job("uploadVolume", **GIVEN, zoneid=there, url=URL)
        found = await came(tale, made["id"], "UploadError")
        assert "the checksum is wrong" == found["status"]
        with refusal(431, "must be Allocated, Ready or Uploaded"):
            await tale.ask("attachVolume", id=made["id"], virtualmachineid=machine)
        await tale.job("destroyVolume", id=made["id"])

    tell(story)


def test_what_a_volume_holds_can_be_downloaded_until_the_address_expires() -> None:
    async def story(tale: Tale) -> None:
        there = await zone(tale)
        await tale.ask("updateConfiguration", name="extract.url.expiration.interval", value="600")
        asked = heard(tale)
        made = await tale.job("uploadVolume", **GIVEN, zoneid=there, url=URL)
        await came(tale, made["id"], "Uploaded")
        uploaded = await tale.job("extractVolume", id=made["id"], mode="HTTP_DOWNLOAD", zoneid=there)
        assert uploaded["url"].endswith("/mine.qcow2")
        machine = await guest(tale)
        await tale.job("attachVolume", id=made["id"], virtualmachineid=machine)
        with refusal(431, "should be in stopped state"):
            await tale.ask("extractVolume", id=made["id"], mode="HTTP_DOWNLOAD", zoneid=there)
        await tale.job("detachVolume", id=made["id"])
        got = await tale.job("extractVolume", id=made["id"], mode="HTTP_DOWNLOAD", zoneid=there)
        assert ("DOWNLOAD_URL_CREATED", "VOLUME", "mine") == (got["state"], got["storagetype"], got["name"])
        key = await tale.cloud.store.run(lambda tx: keys.ticket_key(tx, tale.cloud.vault, tale.cloud.ids))
        (capture,) = await tale.rows(tables.snapshot)
        now = tale.cloud.clock.now()
        ticket = check_link(key, urlsplit(got["url"]).path.split("/")[2], now)
        assert (capture.uuid, capture.sha256, 600.0) == (ticket.image, ticket.sha256, round(ticket.expires - now, -2))
        assert [] == await tale.ask("listSnapshots", listall="true"), "it is nobody's snapshot"
        await tale.cloud.clock.sleep(3600)
        assert [True] == [row.stored for row in await tale.rows(tables.snapshot)], "it may still be on its way to somebody"
        await tale.cloud.clock.sleep(600)
        await tale.until(lambda tx: not tx.rows(tables.snapshot, "removed is null or stored"))
        assert capture.uuid in {body.image for body in asked if isinstance(body, channel.DeleteImage)}

    tell(story)


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"format": "OVA"}, "is uploaded as QCOW2, RAW, VHD"),
        ({"url": "gopher://x/y.qcow2"}, "url"),
        ({"checksum": "xyz"}, "checksum"),
    ],
)
def test_what_cannot_be_uploaded(params: dict[str, str], text: str) -> None:
    async def story(tale: Tale) -> None:
        with refusal(431, text):
            await tale.ask("uploadVolume", **{**GIVEN, "zoneid": (await tale.one("listZones"))["id"], "url": URL, **params})

    tell(story)
