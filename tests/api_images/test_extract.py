"""extractTemplate and extractIso over a whole simulated server: what the address is, and who gets one."""

from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries import keys
from sysvm.store.store import Tx
from sysvm.wire.grants import check_link
from tests.api.stage import refusal
from tests.orchestrator.tale import Tale, tell


async def registered(tale: Tale, **params: Any) -> dict[str, Any]:
    """A template that has come to the zone."""
    first, *_ = await tale.ask("listZones")
    given = {"name": "tiny one", "displaytext": "t", "format": "QCOW2", "hypervisor": "Simulator", "zoneid": first["id"],
             "url": "http://example.org/tiny.qcow2"}  # fmt: skip
    (row,) = await tale.ask("registerTemplate", **{**given, **params})
    await tale.until(lambda tx: states(tx, row["id"]) == ["DOWNLOADED"])
    return dict(row)


def states(tx: Tx, uuid: str) -> list[str]:
    """Of a template's copies."""
    copy = tables.template_copy
    mine = sa.select(tables.template.c.id).where(tables.template.c.uuid == uuid)
    return [row.state for row in tx.all(sa.select(copy).where(copy.c.template_id.in_(mine)).order_by(copy.c.id))]


def test_a_link_leads_to_the_public_address_of_a_secondary_storage_vm_for_this_image_only() -> None:
    async def story(tale: Tale) -> None:
        await tale.system_vms(2)
        template = await registered(tale)
        got = await tale.job("extractTemplate", id=template["id"], mode="HTTP_DOWNLOAD", zoneid=template["zoneid"])
        (worker,) = await tale.ask("listSystemVms", systemvmtype="secondarystoragevm")
        url = urlsplit(got["url"])
        assert (url.scheme, url.netloc) == ("http", worker["publicip"])
        _, place, link, name = url.path.split("/")
        assert (place, name) == ("userdata", "tiny-one.qcow2")
        assert got["state"] == "DOWNLOAD_URL_CREATED"
        now = tale.cloud.clock.now()
        key = await tale.cloud.store.run(lambda tx: keys.ticket_key(tx, tale.cloud.vault, tale.cloud.ids))
        (copy,) = await tale.rows(tables.template_copy, tables.template_copy.c.sha256 != "")
        ticket = check_link(key, link, now)
        assert (ticket.image, ticket.sha256) == (template["id"], copy.sha256)
        assert 14_000 < ticket.expires - now <= 14_400
        # The address opens the image to whoever has it: it is not to be read in the database.
        (job,) = await tale.rows(tables.job, tables.job.c.command == "extractTemplate")
        assert link not in str(job._mapping)

    tell(story)


def test_over_tls_it_names_the_machine_as_the_certificate_does() -> None:
    async def story(tale: Tale) -> None:
        await tale.system_vms(2)
        template = await registered(tale)
        await tale.ask("updateConfiguration", name="secstorage.encrypt.copy", value="true")
        await tale.ask("updateConfiguration", name="secstorage.ssl.cert.domain", value="*.example.org")
        got = await tale.job("extractTemplate", id=template["id"], mode="HTTP_DOWNLOAD")
        (worker,) = await tale.ask("listSystemVms", systemvmtype="secondarystoragevm")
        dashed = worker["publicip"].replace(".", "-")
        assert got["url"].startswith(f"https://{dashed}.example.org/userdata/")

    tell(story)


def test_who_may_not_extract_is_told_why() -> None:
    async def story(tale: Tale) -> None:
        zone = await tale.one("listZones")
        given = {"name": "t", "displaytext": "t", "format": "QCOW2", "hypervisor": "Simulator", "zoneid": zone["id"]}
        (early,) = await tale.ask("registerTemplate", **given, url="http://example.org/tiny.qcow2")
        with refusal(431, "is not downloaded"):
            await tale.ask("extractTemplate", id=early["id"], mode="HTTP_DOWNLOAD")
        await tale.system_vms(2)
        template = await registered(tale, isextractable=False, ispublic=True)
        with refusal(431, "valid extract mode"):
            await tale.ask("extractTemplate", id=template["id"], mode="FTP_UPLOAD")
        with refusal(431, "entity does not exist"):
            await tale.ask("extractIso", id=template["id"], mode="HTTP_DOWNLOAD")

    tell(story)
