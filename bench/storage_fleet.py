"""How evenly secondary storage VMs share commands, on the simulator in virtual time: for bench/storage.py.

The fleet begins with one machine. Commands of many weights come one after another, each lasts between 12 and 108 s, whatever it
weighs; when all have been asked for and done, the machines that were added go again. A look counts when the fleet has not changed
for a while and commands still come: before that the newest machine has less, because work that has begun stays where it is.

What is left is the grain of the work, not the choice: one command of weight 18 is a seventh of a machine's share, and what ends
on one machine is made up for by new commands alone. Nothing waits that could be put in another order, because machines begin at
once what they are given; and a choice that knew when each command will end does no better (measured beside this, in a model:
5.0 % for the least loaded one, 5.5 % for the best end, 21 % for the fewest commands, 32 % for chance). Were all commands to last
exactly a minute, those that a new machine is given in a burst would end in a burst, again and again: that is 10.7 %.
"""

import random
from dataclasses import dataclass, field

from sysvm.store import tables
from sysvm.store.queries import commands, fleets
from sysvm.store.store import Tx
from sysvm.systemvms.secstorage import GB
from sysvm.wire.machines import Kind
from tests.orchestrator.tale import Tale, tell

SETTINGS = {
    "secstorage.session.max": 150,
    "secstorage.capacity.standby": 60,
    "max.ssvm.count": 12,
    "secstorage.vm.auto.scale.down": "true",
    "secstorage.capacityscan.interval": 2000,
    "consoleproxy.capacityscan.interval": 2000,
}
LASTS_S = (12.0, 108.0)
EVERY_S = 0.5
CALM_S = 70.0  # since the last machine was added: what it lacked has come and gone


@dataclass
class Found:
    """What was seen."""

    looks: int = 0
    total: float = 0.0
    weight: int = 0
    added: int = 0
    retired: int = 0
    most: int = 1
    changed: float = field(default=0.0)

    @property
    def spread(self) -> float:
        """Percent, the mean of all looks."""
        return 100 * self.total / max(1, self.looks)


def measured(count: int) -> Found:
    """The whole story."""
    found = Found()

    async def story(tale: Tale) -> None:
        await tale.system_vms(2)
        for name, value in SETTINGS.items():
            await tale.ask("updateConfiguration", name=name, value=value)
        chance = random.Random(3)
        zone = await tale.one("listZones")
        for number in range(count):
            await _asked(tale, zone["id"], number, chance, found)
            await tale.cloud.clock.sleep(EVERY_S)
            await tale.cloud.store.read(lambda tx: _look(tx, tale.zone_id, found))
        await tale.until(lambda tx: not commands.under_way(tx), patience_s=20_000)
        await tale.until(lambda tx: len(_workers(tx, tale.zone_id)) == 1, patience_s=20_000)
        found.retired = found.most - 1

    tell(story)
    return found


async def _asked(tale: Tale, zone: str, number: int, chance: random.Random, found: Found) -> None:
    """A template of a size that is known, as if another zone had it; every fourth one is packed."""
    ending = ".xz" if chance.random() < 0.25 else ""
    lasts = chance.uniform(*LASTS_S)
    for host in tale.cloud.earth.hosts.values():
        host.agents.task_s = lasts
    (made,) = await tale.ask(
        "registerTemplate", name=f"t{number}", displaytext="t", url=f"http://example.org/{number}.raw{ending}", format="RAW",
        hypervisor="Simulator", zoneid=zone,
    )  # fmt: skip
    size = int(chance.choice((0, 1, 2, 5, 9, 20, 40)) * GB)

    def note(tx: Tx) -> None:
        (row,) = tx.rows(tables.template, "uuid = :uuid", uuid=made["id"])
        tx.update(tables.template, row.id, size_bytes=size)
        (one,) = [one for one in commands.under_way(tx) if one.template.uuid == made["id"]]
        found.weight += one.weight

    await tale.cloud.store.run(note)


def _workers(tx: Tx, zone_id: int) -> list[int]:
    living = fleets.living(tx, zone_id, Kind.SECONDARY_STORAGE)
    return [row.id for row in living if row.wanted == "running"]


def _look(tx: Tx, zone_id: int, found: Found) -> None:
    living = fleets.living(tx, zone_id, Kind.SECONDARY_STORAGE)
    serving = [one for one in fleets.members(tx, living) if one.serves]
    if len(serving) > found.most:
        found.added, found.most, found.changed = len(serving) - 1, len(serving), tx.now
    loads = [one.load for one in serving]
    even = sum(loads) / len(loads)
    if len(serving) > 1 and tx.now - found.changed > CALM_S and even:
        found.looks += 1
        found.total += max(abs(load - even) for load in loads) / even
