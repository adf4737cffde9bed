"""Templates on their way to secondary storage and from it: tried again when that may help, ended at once when it does not."""

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import sysvm.agent.roles.secstorage as agent
from sysvm.basics.errors import Refused
from sysvm.hosts.simulated.agents import usual_outcome
from sysvm.store import tables
from sysvm.systemvms.secstorage import PASSING, try_again
from sysvm.wire import channel
from tests.orchestrator.tale import Tale, registered, status, tell

NETWORK = "the download failed 5 times in a row; at last: example.org does not answer: timed out"


@pytest.mark.parametrize(
    ("tries", "why", "pause"),
    [
        (1, NETWORK, 15.0),
        (4, NETWORK, 600.0),
        (5, NETWORK, None),
        (1, "the image store is full", 15.0),
        (1, "the checksum is wrong: a was promised, b came", None),
        (1, "nothing is fetched from 10.0.0.1: it is a private address", None),
        (1, "this is no QCOW2 image: its first bytes are not those of one", None),
    ],
)
def test_what_is_tried_again(tries: int, why: str, pause: float | None):
    """What may pass by itself, a bounded number of times, with growing pauses."""
    assert pause == try_again(tries, why)


@pytest.mark.parametrize("words", PASSING)
def test_the_agent_says_so(words: str):
    """The words are those of the agent."""
    sources = [path.read_text() for path in Path(agent.__file__).parent.glob("*.py")]
    assert any(words in source for source in sources)


class Downloads:
    """What happens to downloads in a simulated cloud."""

    def __init__(self, tale: Tale) -> None:
        self.failures: list[str] = []
        self.asked: list[Any] = []
        for host in tale.cloud.earth.hosts.values():
            host.agents.outcome = self.outcome

    def outcome(self, body: channel.TaskBody) -> Any:
        self.asked.append(body)
        if self.failures:
            raise Refused(self.failures.pop(0))
        return usual_outcome(body)


def test_a_download_that_the_network_broke_is_tried_again():
    """The owner sees which try it is, and when the next one comes."""

    async def story(tale: Tale) -> None:
        await tale.system_vms(2)
        downloads = Downloads(tale)
        downloads.failures = [NETWORK, NETWORK]
        template = await registered(tale)
        seen = await status(tale, template, ends=("try 1 of 5",))
        assert "the next is in 15 s: the download failed" in seen
        assert "Download Complete" == await status(tale, template, ends=("Download Complete",))
        assert 3 == len(downloads.asked)

    tell(story)


def test_it_is_given_up_after_some_tries():
    """With an alert, and no further try."""

    async def story(tale: Tale) -> None:
        await tale.system_vms(2)
        downloads = Downloads(tale)
        downloads.failures = [NETWORK] * 9
        template = await registered(tale)
        assert NETWORK == await status(tale, template, ends=("the download failed",))
        await tale.cloud.clock.sleep(3000)
        assert 5 == len(downloads.asked)
        assert 1 == len([text for text in await tale.alerts() if "could not be downloaded" in text])

    tell(story)


def test_a_wrong_checksum_is_final():
    """Another try would bring the same bytes."""

    async def story(tale: Tale) -> None:
        await tale.system_vms(2)
        downloads = Downloads(tale)
        downloads.failures = ["the checksum is wrong: a was promised, b came"]
        template = await registered(tale)
        await status(tale, template, ends=("the checksum is wrong",))
        await tale.cloud.clock.sleep(3000)
        assert 1 == len(downloads.asked)

    tell(story)


@pytest.mark.parametrize("failures", [[NETWORK], [NETWORK] * 5], ids=["deleted between two tries", "given up"])
def test_what_a_failed_download_has_brought_goes_when_nobody_wants_it_any_more(failures: list[str]):
    """Before that it stays on the store, for the next try."""

    async def story(tale: Tale) -> None:
        await tale.system_vms(2)
        downloads = Downloads(tale)
        downloads.failures = list(failures)
        template = await registered(tale)
        await status(tale, template, ends=("try 1 of 5",) if len(failures) == 1 else ("the download failed",))
        await tale.job("deleteTemplate", id=template["id"])
        await tale.cloud.clock.sleep(5)
        assert [*[channel.Download] * len(failures), channel.DeleteImage] == [type(body) for body in downloads.asked]

    tell(story)


def test_another_secondary_storage_vm_takes_over():
    """The one at work is destroyed in the middle."""

    async def story(tale: Tale) -> None:
        await tale.system_vms(2)
        for host in tale.cloud.earth.hosts.values():
            host.agents.task_s = 60.0
        template = await registered(tale)
        copy = tables.template_copy
        at_work = sa.select(copy.c.machine_id).where(copy.c.state == "DOWNLOAD_IN_PROGRESS")
        first = await tale.until(lambda tx: tx.value(at_work))
        machine = await tale.cloud.row(tables.machine, first)
        await tale.ask("destroySystemVm", id=machine.uuid)
        assert "Download Complete" == await status(tale, template, ends=("Download Complete",))
        (row,) = await tale.rows(copy, copy.c.state == "DOWNLOADED", copy.c.machine_id.is_not(None))
        assert first != row.machine_id

    tell(story)


def test_what_was_never_downloaded_is_deleted_at_once():
    """No secondary storage VM is needed for it."""

    async def story(tale: Tale) -> None:
        template = await registered(tale)
        before = tale.cloud.clock.now()
        await tale.job("deleteTemplate", id=template["id"])
        assert tale.cloud.clock.now() - before < 5
        copy = tables.template_copy
        assert [] == [row for row in await tale.rows(copy, copy.c.removed.is_(None)) if not row.wanted]

    tell(story, guests_only=True)


def test_a_deletion_ends_the_download_that_is_under_way():
    """The agent forgets it; no byte is waited for."""

    async def story(tale: Tale) -> None:
        await tale.system_vms(2)
        downloads = Downloads(tale)
        for host in tale.cloud.earth.hosts.values():
            host.agents.task_s = 500.0
        template = await registered(tale)
        copy = tables.template_copy
        await tale.until(lambda tx: tx.one(sa.select(copy.c.id).where(copy.c.state == "DOWNLOAD_IN_PROGRESS")))
        before = tale.cloud.clock.now()
        await tale.job("deleteTemplate", id=template["id"])
        assert tale.cloud.clock.now() - before < 5
        await tale.cloud.clock.sleep(600)
        assert [] == downloads.asked

    tell(story)


def test_bytes_that_arrived_are_deleted_by_a_secondary_storage_vm():
    """And only then the job is over."""

    async def story(tale: Tale) -> None:
        await tale.system_vms(2)
        downloads = Downloads(tale)
        template = await registered(tale)
        await status(tale, template, ends=("Download Complete",))
        await tale.job("deleteTemplate", id=template["id"])
        assert [channel.Download, channel.DeleteImage] == [type(body) for body in downloads.asked]

    tell(story)


def test_bytes_that_cannot_be_deleted_are_told_and_deleted_later():
    """The job goes on waiting meanwhile."""

    async def story(tale: Tale) -> None:
        await tale.system_vms(2)
        downloads = Downloads(tale)
        template = await registered(tale)
        await status(tale, template, ends=("Download Complete",))
        why = "the image store cannot be used: it is not mounted"
        downloads.failures = [why, why]
        await tale.job("deleteTemplate", id=template["id"])
        told = [text for text in await tale.alerts() if "could not be deleted from image store" in text]
        assert 1 == len(told) and told[0].startswith("Template t ") and why in told[0]
        assert [channel.Download, *[channel.DeleteImage] * 3] == [type(body) for body in downloads.asked]

    tell(story)


def test_system_vms_say_which_template_they_run():
    """Root admins see its row; nobody can take it for a guest's."""

    async def story(tale: Tale) -> None:
        guest = await tale.cloud.guest(await tale.cloud.network(tale.zone_id), "g")
        machine = tables.machine
        await tale.until(lambda tx: tx.one(sa.select(machine.c.id).where(machine.c.id == guest, machine.c.power == "running")))
        (row,) = [row for row in await tale.ask("listTemplates", templatefilter="all") if row["templatetype"] == "SYSTEM"]
        assert ("SystemVM Template (Simulator)", "RAW", True) == (row["name"], row["format"], row["isready"])
        for shown in (*await tale.ask("listRouters"), *await tale.ask("listSystemVms")):
            assert (row["id"], row["name"]) == (shown["templateid"], shown["templatename"])
        assert "simulated" == (await tale.one("listRouters"))["version"]
        mine = await tale.ask("listTemplates", templatefilter="executable")
        assert row["id"] not in [template["id"] for template in mine]

    tell(story)
