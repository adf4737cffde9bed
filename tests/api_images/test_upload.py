"""getUploadParamsForTemplate and ForIso over a whole simulated server: what is signed, and what becomes of the image."""

from typing import Any
from urllib.parse import urlsplit

import pytest

from sysvm.basics.errors import Refused
from sysvm.store.queries import keys
from sysvm.wire import channel
from sysvm.wire.grants import BadGrant, check_upload
from tests.api.stage import refusal
from tests.api_images.test_extract import states
from tests.orchestrator.tale import Tale, tell

GIVEN = {"name": "mine", "displaytext": "m", "format": "QCOW2", "hypervisor": "Simulator"}


async def prepared(tale: Tale, command: str = "getUploadParamsForTemplate", **params: Any) -> dict[str, Any]:
    """The answer of the command, in a zone that is up."""
    await tale.system_vms(2)
    zone = await tale.one("listZones")
    return dict(await tale.ask(command, **{**GIVEN, "zoneid": zone["id"], **params}))


def test_what_a_client_shall_show_is_signed_by_the_cloud() -> None:
    async def story(tale: Tale) -> None:
        got = await prepared(tale)
        (worker,) = await tale.ask("listSystemVms", systemvmtype="secondarystoragevm")
        url = urlsplit(got["postURL"])
        assert (url.scheme, url.netloc, url.path) == ("https", worker["publicip"], f"/upload/{got['id']}")
        key = await tale.cloud.store.run(lambda tx: keys.ticket_key(tx, tale.cloud.vault, tale.cloud.ids))
        now = tale.cloud.clock.now()
        said = (url.path, got["metadata"], got["expires"])
        check_upload(key, got["signature"], said, now)
        with pytest.raises(BadGrant, match="expired"):
            check_upload(key, got["signature"], said, now + 3600)

    tell(story)


@pytest.mark.parametrize("command", ["getUploadParamsForTemplate", "getUploadParamsForIso"])
def test_what_was_uploaded_becomes_ready(command: str) -> None:
    async def story(tale: Tale) -> None:
        iso = command.endswith("Iso")
        got = await prepared(tale, command, **({"format": "ISO", "hypervisor": None} if iso else {}))
        await tale.until(lambda tx: states(tx, got["id"]) == ["DOWNLOADED"])
        kind = {"isofilter": "self"} if iso else {"templatefilter": "self"}
        row = await tale.one("listIsos" if iso else "listTemplates", id=got["id"], **kind)
        assert (row["isready"], row.get("url")) == (True, None)

    tell(story)


def test_what_is_no_image_or_does_not_come_is_an_error_that_is_not_tried_again() -> None:
    async def story(tale: Tale) -> None:
        def outcome(body: channel.TaskBody) -> Any:
            raise Refused("the image store is full")

        for host in tale.cloud.earth.hosts.values():
            host.agents.outcome = outcome
        got = await prepared(tale)
        await tale.until(lambda tx: states(tx, got["id"]) == ["UPLOAD_ERROR"])
        row = await tale.one("listTemplates", id=got["id"], templatefilter="self")
        assert (row["isready"], row["status"]) == (False, "the image store is full")
        await tale.job("deleteTemplate", id=got["id"])

    tell(story)


def test_an_upload_goes_to_one_zone_with_a_secondary_storage_vm() -> None:
    async def story(tale: Tale) -> None:
        zone = await tale.one("listZones")
        with refusal(431, "goes to one zone"):
            await tale.ask("getUploadParamsForTemplate", **GIVEN, zoneid="-1")
        with refusal(534, "try again later"):
            await tale.ask("getUploadParamsForTemplate", **GIVEN, zoneid=zone["id"])

    tell(story)
