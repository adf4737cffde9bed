"""Secondary storage VMs share the work of a zone: by weight, on the least loaded one, with more of them when it is much."""

from typing import Any

import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries import commands, fleets
from sysvm.store.store import Tx
from sysvm.systemvms.secstorage import GB, weight
from sysvm.wire.machines import Kind
from tests.orchestrator.tale import Tale, registered, status, tell

COPY = tables.template_copy


async def rules(tale: Tale, **values: object) -> None:
    """Settings, with _ for the dots."""
    for name, value in values.items():
        await tale.ask("updateConfiguration", name=name.replace("_", "."), value=value)


async def takes(tale: Tale, seconds: float) -> None:
    """How long each command takes from now on, also in machines on hosts that are yet to come."""
    for host in tale.cloud.earth.hosts.values():
        host.agents.task_s = seconds


def workers(tx: Tx) -> list[Any]:
    """The zone's secondary storage VMs that are to stay."""
    zone = tx.value(sa.select(sa.func.min(tables.zone.c.id)))
    return [row for row in fleets.living(tx, zone, Kind.SECONDARY_STORAGE) if row.wanted == "running"]


def test_weights():
    """By what is known of the size, twice for what is unpacked here."""
    cases = [
        (("download", 0, "http://a/b.qcow2"), 1),
        (("download", 0, "http://a/b.qcow2.xz?x=1"), 2),
        (("upload", 0, ""), 1),
        (("move", 4 * GB, ""), 2),
        (("download", 9 * GB, "http://a/b.raw.gz"), 6),
        (("download", 900 * GB, "http://a/b"), 9),
    ]
    assert [expected for _, expected in cases] == [weight(*given) for given, _ in cases]


def test_six_slow_downloads_bring_a_second_and_a_third_which_go_again():
    """With two at a time in each; all end well, and nobody is asked twice."""

    async def story(tale: Tale) -> None:
        await tale.system_vms(2)
        await rules(tale, secstorage_session_max=2, secstorage_capacity_standby=0, secstorage_vm_auto_scale_down="true")
        await takes(tale, 300)
        templates = [await registered(tale, f"t{number}") for number in range(6)]
        await tale.until(lambda tx: 3 == len(workers(tx)))
        await tale.until(lambda tx: [2, 2, 2] == sorted(one.load for one in fleets.members(tx, workers(tx))))
        shown = await tale.ask("listSecondaryStorageCommands")
        assert 6 == len(shown)
        assert {"Running"} == {row["state"] for row in shown}
        assert 3 == len({row["systemvmid"] for row in shown})
        assert all(row["weight"] == 1 and row["hostid"] and row["age"] >= 0 for row in shown)
        for template in templates:
            await status(tale, template, ends=("Download Complete",))
        await tale.until(lambda tx: 1 == len(workers(tx)), patience_s=600)
        rows = await tale.rows(COPY, COPY.c.state == "DOWNLOADED", COPY.c.tries > 0)
        assert [] == rows

    tell(story)


def test_what_waits_for_room_is_queued_and_the_most_is_the_most():
    """Two machines of two: one command waits until another is done."""

    async def story(tale: Tale) -> None:
        await tale.system_vms(2)
        await rules(tale, secstorage_session_max=2, secstorage_capacity_standby=0, max_ssvm_count=2)
        await takes(tale, 200)
        templates = [await registered(tale, f"t{number}") for number in range(5)]
        await tale.until(lambda tx: 4 == sum(one.machine_id is not None for one in commands.under_way(tx)))
        await tale.cloud.clock.sleep(60)
        (queued,) = [row for row in await tale.ask("listSecondaryStorageCommands") if row["state"] == "Queued"]
        assert "systemvmid" not in queued
        (row,) = await tale.ask("listTemplates", templatefilter="self", id=queued["id"])
        assert "waits for room" in row["status"]
        assert 2 == len(await tale.cloud.store.read(workers))
        for template in templates:
            await status(tale, template, ends=("Download Complete",))

    tell(story)


def test_what_is_older_than_the_longest_time_counts_no_more_but_keeps_its_machine():
    """So a stuck command does not hold a place for ever, and a slow one is not cut off by a retirement."""

    async def story(tale: Tale) -> None:
        await tale.system_vms(2)
        await rules(
            tale, secstorage_session_max=1, secstorage_capacity_standby=0, secstorage_cmd_execution_time_max=1,
            max_ssvm_count=1,
        )  # fmt: skip
        await takes(tale, 900)
        slow = await registered(tale, "slow")
        await tale.until(lambda tx: [1] == [one.load for one in fleets.members(tx, workers(tx))])
        await tale.cloud.clock.sleep(61)
        (member,) = await tale.cloud.store.read(lambda tx: fleets.members(tx, workers(tx)))
        assert (0, 1, False) == (member.load, member.commands, member.is_idle)
        await registered(tale, "next")
        await tale.until(lambda tx: 2 == sum(one.machine_id is not None for one in commands.under_way(tx)))
        assert [False, True] == [row["counts"] for row in await tale.ask("listSecondaryStorageCommands")]
        await status(tale, slow, ends=("Download Complete",))

    tell(story)


def test_hundreds_of_commands_are_spread_by_weight():
    """None of four machines has a tenth more or less than an even share, whatever the order in which commands come."""

    async def story(tale: Tale) -> None:
        await tale.system_vms(2)
        await rules(tale, secstorage_session_max=150, secstorage_capacity_standby=460, max_ssvm_count=4)
        await tale.until(lambda tx: 4 == sum(one.serves for one in fleets.members(tx, workers(tx))))
        await takes(tale, 5000)
        for number in range(200):
            await registered(tale, f"t{number}", packed=number % 3 == 0)
        await tale.until(lambda tx: not commands.queued(tx, tale.zone_id), patience_s=2000)
        loads = await tale.cloud.store.read(lambda tx: [one.load for one in fleets.members(tx, workers(tx))])
        assert 200 + 67 == sum(loads)
        even = sum(loads) / 4
        assert all(0.9 * even <= load <= 1.1 * even for load in loads), loads

    tell(story)


def test_a_machine_that_ends_is_drained_first():
    """It takes nothing more, and what it has may come to its end; then it goes. The next ones go to the other."""

    async def story(tale: Tale) -> None:
        await tale.system_vms(2)
        await rules(tale, secstorage_session_max=2, secstorage_capacity_standby=1)
        await takes(tale, 8)
        for number in range(2):
            await registered(tale, f"t{number}")
        await tale.until(lambda tx: 2 == sum(member.serves for member in fleets.members(tx, workers(tx))))
        await takes(tale, 12)
        late = await registered(tale, "late")
        await tale.until(lambda tx: tx.one(sa.select(COPY).where(COPY.c.state == "DOWNLOAD_IN_PROGRESS")))
        at_work = await tale.cloud.store.read(lambda tx: commands.under_way(tx)[0].machine_id)
        machine = await tale.cloud.row(tables.machine, at_work)
        await tale.ask("rebootSystemVm", id=machine.uuid)
        await tale.until(lambda tx: tx.get(tables.machine, machine.id).draining)  # type: ignore[union-attr]
        await tale.until(lambda tx: tx.get(tables.machine, machine.id).incarnation > machine.incarnation)  # type: ignore[union-attr]
        await status(tale, late, ends=("Download Complete",))
        assert 0 == sum(row.tries for row in await tale.rows(COPY))

    tell(story)
