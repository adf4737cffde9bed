"""Image stores are read through now and then; what is damaged is brought anew from where it is, and told of."""

from typing import Any

import pytest

from sysvm.basics.errors import Refused
from sysvm.hosts.simulated.agents import usual_outcome
from sysvm.store import tables
from sysvm.store.queries import turns
from sysvm.store.store import Tx
from sysvm.systemvms.secstorage import scrub_in
from sysvm.wire import channel
from tests.orchestrator.tale import Tale, registered, status, tell

DAY_S = 24 * 3600.0


class Agents:
    """What the secondary storage VMs find, and what they were asked."""

    def __init__(self, tale: Tale) -> None:
        self.damaged: tuple[str, ...] = ()
        self.refuses = ""
        self.asked: list[Any] = []
        for host in tale.cloud.earth.hosts.values():
            host.agents.outcome = self.outcome

    def outcome(self, body: channel.TaskBody) -> Any:
        self.asked.append(body)
        if not isinstance(body, channel.Scrub):
            return usual_outcome(body)
        if self.refuses:
            raise Refused(self.refuses)
        found, self.damaged = self.damaged, ()
        return channel.Scrubbed(objects=9, bytes=9, damaged=found)

    def count(self, kind: type) -> int:
        return sum(isinstance(body, kind) for body in self.asked)


async def store(tale: Tale) -> dict[str, Any]:
    """The zone's image store."""
    return await tale.one("listImageStores")


def test_a_damaged_template_comes_again_from_its_source():
    """With an alert that says so; guests can be made of it afterwards."""

    async def story(tale: Tale) -> None:
        await tale.system_vms(2)
        agents = Agents(tale)
        template = await registered(tale)
        await status(tale, template, ends=("Download Complete",))
        agents.damaged = (template["id"],)
        before = agents.count(channel.Download)
        await tale.job("scrubImageStore", id=(await store(tale))["id"])
        assert any("are damaged; they are brought anew from its source" in text for text in await tale.alerts())
        await status(tale, template, ends=("Download Complete",))
        assert before + 1 == agents.count(channel.Download)

    tell(story)


def test_what_nobody_has_is_told_and_is_not_ready_any_more():
    """An image without a source, a snapshot, and something that no record knows."""

    async def story(tale: Tale) -> None:
        await tale.system_vms(2)
        agents = Agents(tale)
        template = await registered(tale)
        await status(tale, template, ends=("Download Complete",))
        row = (await tale.rows(tables.template, tables.template.c.uuid == template["id"]))[0]
        await tale.cloud.store.run(lambda tx: tx.update(tables.template, row.id, url=""))
        agents.damaged = (template["id"], "11111111-2222-3333-4444-555555555555")
        await tale.job("scrubImageStore", id=(await store(tale))["id"])
        assert "its bytes were damaged in the image store" == await status(tale, template, ends=("its bytes",))
        said = await tale.alerts()
        assert any("nobody else has them: delete it, and bring it anew" in text for text in said)
        assert any("no record knows it" in text for text in said)

    tell(story)


@pytest.mark.parametrize(
    ("scrubbed", "days", "left"),
    [(None, 7, 0.0), (0.0, 7, 2 * DAY_S), (0.0, 5, 0.0), (0.0, 3, -2 * DAY_S), (None, 0, 0.0), (0.0, 0, float("inf"))],
)
def test_when_a_store_is_read_again(scrubbed: float | None, days: int, left: float):
    """On the fifth day. A store that never was is read at once, and at 0 days so is one that somebody asks for."""
    assert left == scrub_in(scrubbed, 5 * DAY_S, days * DAY_S)


def test_a_store_is_read_again_when_it_is_time():
    """And one that could not be read is told of and tried again."""

    async def story(tale: Tale) -> None:
        await tale.system_vms(2)
        agents = Agents(tale)
        await tale.job("scrubImageStore", id=(await store(tale))["id"])
        first = agents.count(channel.Scrub)

        def age(tx: Tx) -> None:
            (row,) = tx.rows(tables.image_store, "removed is null")
            tx.update(tables.image_store, row.id, scrubbed=tx.now - 8 * DAY_S)
            turns.look_again(tx, "scrub", row.id)

        agents.refuses = "the image store cannot be used: it is full"
        await tale.cloud.store.run(age)
        await tale.until(lambda tx: agents.count(channel.Scrub) > first)
        await tale.until(lambda tx: any("read through" in row.subject for row in tx.rows(tables.alert, "id > 0")))
        agents.refuses = ""
        again = agents.count(channel.Scrub)
        await tale.cloud.clock.sleep(1300)
        assert again + 1 == agents.count(channel.Scrub)

    tell(story)
