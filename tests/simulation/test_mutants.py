"""Mistakes that must not go unnoticed: each mutant of the engine or of a plan makes one of the stories end badly."""

import contextlib
import os
import resource
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from sysvm.basics.errors import Stale
from sysvm.hosts import memory
from sysvm.hosts.moves.handover import Handovers
from sysvm.hosts.simulated.gates import SimulatedGates
from sysvm.orchestrator.turns import placement
from sysvm.store import tables
from sysvm.store.queries import brakes, jobs, machines, strays, turns
from sysvm.store.store import Tx
from sysvm.systemvms import machine as plans
from sysvm.systemvms import relocation, safety
from sysvm.wire.machines import Power
from tests.simulation import test_a_router_goes_to_another_host as moves
from tests.simulation import test_the_brake as brake_stories
from tests.simulation.cloud import Cloud, gone, running
from tests.simulation.faults import everywhere
from tests.simulation.life import check, live
from tests.simulation.loop import run
from tests.simulation.test_a_server_that_wakes_late import tell as wake_late
from tests.simulation.test_sweep_and_recovery import test_a_read_only_server_does_no_turn_of_any_kind as read_only
from tests.simulation.test_sweep_and_recovery import test_a_recovered_database_adopts_what_runs as recovered

boots = brake_stories.test_hosts_that_were_booted_are_healed_all_at_once
many_die = brake_stories.test_many_that_die_at_once_are_not_all_started_again
few_die = brake_stories.test_a_few_that_die_are_healed_whatever_their_share
stay_away = brake_stories.test_hosts_that_stay_away_have_their_own_alerts_when_the_brake_is_let_go
all_silent = brake_stories.test_agents_that_are_silent_everywhere_are_not_a_reason_to_kill_their_machines
agent_is_silent = brake_stories.test_a_silent_agent_has_time_to_come_back_and_then_its_machine_is_started_again

CPU_S = 240

Mutation = tuple[object, str, Any]
Tale = Callable[[], object]


# ---------------------------------------------------------------- stories
def plain() -> None:
    """A life without faults."""
    cloud = Cloud()

    async def main() -> None:
        async with cloud.server():
            await live(cloud)

    run(cloud.clock, main())


def late(*where: str) -> None:
    """A server that stands still at such a fault point, at each of them, and wakes late."""
    assert wake_late(where) > 5


def late_writer() -> None:
    """It wakes when all that is left to do is to write what it found."""
    late("machine before release", "placement before release", "network before release")


def late_actor() -> None:
    """It wakes with an act in its hand."""
    late("host.do.received")


def blind() -> None:
    """Hosts that cannot look for a while: nothing may be made a second time or called gone."""
    cloud = Cloud()

    async def main() -> None:
        async with cloud.server():
            zone = await cloud.zone(hosts=2, guests_only=True)
            guest = await cloud.guest(await cloud.network(zone), "g1")
            await cloud.until(running(guest))
            for host in cloud.earth.hosts.values():
                host.driver.unavailable = "it hangs"
            await cloud.store.run(lambda tx: machines.want(tx, tx.get(tables.machine, guest), "gone"))  # type: ignore[arg-type]
            await cloud.clock.sleep(30)
            for host in cloud.earth.hosts.values():
                host.driver.unavailable = ""
            await cloud.until(gone(guest))
            await check(cloud)

    run(cloud.clock, main())


def quarrel() -> None:
    """A job that waits for a later wish is not closed by what an earlier one came to."""

    async def story(cloud: Cloud) -> None:
        zone = await cloud.zone(guests_only=True)
        guest = await cloud.guest(await cloud.network(zone), "g1")
        await cloud.until(lambda tx: running(guest)(tx) or tx.sql("select 1 from job_part"))
        await cloud.until(_no_open_parts)
        await cloud.store.read(_parts_were_true)

    everywhere(story, _stop)


async def _stop(cloud: Cloud, _name: str) -> None:
    await cloud.store.run(_stop_by_job)


def _stop_by_job(tx: Tx) -> None:
    table = tables.machine
    guest = tx.one(sa.select(table).where(table.c.kind == "guest"))
    if guest is None:
        return
    part = machines.want(tx, guest, "stopped")
    user = {"user_id": 2, "account_id": 2, "domain_id": 1, "domain_path": "/1/"}
    job = tx.insert(tables.job, uuid="job", command="stopVirtualMachine", params={}, instance_type="VirtualMachine",
                    instance_uuid=guest.uuid, instance_id=guest.id, deadline=tx.now + 1e6, created=tx.now, **user)  # fmt: skip
    tx.insert(tables.job_part, job_id=job, kind=part.kind, thing_id=part.id, wish=part.wish, outcome="stopped", error="")


def two_claimers() -> None:
    """What one living session has, another does not get."""
    cloud = Cloud()

    async def main() -> None:
        for name in ("a", "b"):
            await cloud.store.run(lambda tx, name=name: turns.open_session(tx, name, name, name, "", "test"))
        await cloud.store.run(lambda tx: turns.wish(tx, "machine", 1))
        assert 1 == len(await cloud.store.run(lambda tx: turns.claim(tx, "a")))
        assert [] == list(await cloud.store.run(lambda tx: turns.claim(tx, "b")))

    run(cloud.clock, main())


def goes_away() -> None:
    """A router goes to another host, and the way between the two breaks at each step of it."""
    everywhere(moves.told, moves.alone(moves.part), at=moves.EDGES)


def few_hosts_go_away() -> None:
    """As many as are many."""
    brake_stories.many_hosts_go_away(8, 20)


def dead_claimer() -> None:
    """Who is dead and does not know it gets nothing."""
    cloud = Cloud()

    async def main() -> None:
        await cloud.store.run(lambda tx: turns.open_session(tx, "a", "a", "a", "", "test"))
        await cloud.store.run(lambda tx: turns.wish(tx, "machine", 1))
        await cloud.clock.sleep(turns.SESSION_TTL_S + 1)
        assert [] == list(await cloud.store.run(lambda tx: turns.claim(tx, "a")))

    run(cloud.clock, main())


def _no_open_parts(tx: Tx) -> bool:
    return not tx.sql("select 1 from job_part where state = 0")


def _parts_were_true(tx: Tx) -> None:
    errors = [row.error for row in tx.all(sa.select(tables.job_part)) if row.state != jobs.SATISFIED]
    assert [] == errors


# ---------------------------------------------------------------- mutants
def claim_of_anybodys(text: str) -> str:
    """Turns of living sessions are free, too."""
    free = "(session is null or session not in (select id from session where until > :now))"
    assert free in text
    return text.replace(free, "(1 = 1)")


def release_of_anybodys(text: str) -> str:
    """Whoever once had the turn writes what it found."""
    check_ = "and fence = :fence and session = :session"
    assert check_ in text
    return text.replace(check_, "and :fence >= 0 and :session <> ''")


def claims_when_dead(text: str) -> str:
    """A session that is over still claims."""
    check_ = "and exists (select 1 from session where id = :session and until > :now)"
    assert check_ in text
    return text.replace(check_, "")


def old_stays(want: plans.MachineWanted, placements: tuple[plans.PlacementSeen, ...]) -> plans.MachineStep:
    """The next incarnation is placed beside the previous one, which nobody retires."""
    return ORIGINAL_PLAN(want, tuple(p for p in placements if p.incarnation == want.incarnation))


def unknown_is_absent(want: plans.PlacementWanted, seen: Any, up_s: float) -> plans.PlacementAct:
    """Who cannot look is taken to have nothing."""
    return ORIGINAL_PLACEMENT(want, None if seen is not None and seen.power is Power.UNKNOWN else seen, up_s)


def never_configured(want: plans.PlacementWanted, seen: Any, up_s: float) -> plans.PlacementAct:
    """Running is enough."""
    return ORIGINAL_PLACEMENT(replace(want, document=None), seen, up_s)


def settles_newer(tx: Tx, kind: str, id_: int, wish: int, outcome: str) -> None:
    """Parts of newer wishes are closed, too."""
    ORIGINAL_SETTLE(tx, kind, id_, wish + 100, outcome)


def never_let_go(tx: Tx, zone: Any, brake: safety.Brake, reason: str) -> None:
    """Once on, always on."""
    if brake is not safety.Brake.OFF:
        ORIGINAL_TURN(tx, zone, brake, reason)


def at_once_silent(row: Any, now: float) -> float:
    """It counts from the machine's start."""
    return now - (row.since or now) if row.power == Power.RUNNING else 0.0


async def nothing_is_shut(gates: SimulatedGates, machine: str, incarnation: int) -> None:
    """Its ports are as they were before they were frozen."""
    await gates.serve(machine, incarnation)


ORIGINAL_TURN = brakes._turn
ORIGINAL_PLAN, ORIGINAL_PLACEMENT = plans.plan_machine, plans.plan_placement
ORIGINAL_SETTLE = jobs.settle

MUTANTS: dict[str, tuple[Mutation, tuple[Tale, ...]]] = {
    "release without the fence check": ((turns, "RELEASE", release_of_anybodys(turns.RELEASE)), (late_writer,)),
    "a host without the fence check": ((memory, "_check", lambda key, fence, highest: None), (late_actor,)),
    "claim of a living session's turn": ((turns, "CLAIM", claim_of_anybodys(turns.CLAIM)), (two_claimers,)),
    "a dead session claims": ((turns, "CLAIM", claims_when_dead(turns.CLAIM)), (dead_claimer,)),
    "the old incarnation is not retired": ((plans, "plan_machine", old_stays), (plain,)),
    "unknown is taken for absent": ((plans, "plan_placement", unknown_is_absent), (blind,)),
    "documents are not applied": ((plans, "plan_placement", never_configured), (plain,)),
    "parts of newer wishes are closed": ((jobs, "settle", settles_newer), (quarrel,)),
    "a recovered database adopts nothing": ((strays, "_adopt", lambda tx, host, seen: None), (recovered,)),
    "a rolled-back database is worked on": ((strays, "read_only", lambda tx: ""), (read_only,)),
    "the brake holds nothing": ((brakes, "why_not", lambda tx, zone_id, elsewhere: ""), (many_die,)),
    "hosts that are away are no reason to wait": ((safety, "FEWEST_HOSTS", 10**9), (few_hosts_go_away,)),
    "the brake is never let go": ((brakes, "_turn", never_let_go), (few_hosts_go_away,)),
    "a host's boot is a death of its machines": ((placement, "_ended_with_host", lambda row, host: False), (boots,)),
    "few are many": ((safety, "FEWEST", 0), (few_die,)),
    "an agent has no time to come back": ((placement, "_silent_s", at_once_silent), (agent_is_silent,)),
    "silent agents are not counted": ((brakes, "SILENT", brakes.SILENT.replace("< :since", "< 0 * :since")), (all_silent,)),
    "a router is called back although it has left": ((relocation, "_given", relocation._kept), (goes_away,)),
    "a router that left is heard": ((SimulatedGates, "shut", nothing_is_shut), (goes_away,)),
    "a router's next life elsewhere does not know that it is the second": ((Handovers, "is_far", lambda *_: False), (goes_away,)),
    "hosts' alerts are lost with the brake": ((brakes, "tells_of_hosts", lambda tx, zone_id: True), (stay_away,)),
}  # fmt: skip


@contextlib.contextmanager
def mutated(mutation: Mutation) -> Iterator[None]:
    """The product with one mistake in it."""
    where, name, wrong = mutation
    right = getattr(where, name)
    setattr(where, name, wrong)
    try:
        yield
    finally:
        setattr(where, name, right)


def _ends_badly(tale: Tale) -> bool:
    """Whether the story fails. Told in a fork: what a mutant breaks stays broken there."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))  # a mutant that spins for ever is noticed, too
        try:
            tale()
        except BaseException:  # noqa: BLE001
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    return status != 0


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_caught(name: str):
    """By the first of its stories that ends badly; one must."""
    mutation, tales = MUTANTS[name]
    with mutated(mutation):
        assert any(_ends_badly(tale) for tale in tales), f"nobody noticed: {name}"


@pytest.mark.parametrize(
    "tale",
    [plain, blind, quarrel, two_claimers, dead_claimer, late_writer, late_actor, few_hosts_go_away, goes_away],
    ids=lambda tale: tale.__name__,
)
def test_without_a_mutation_the_stories_end_well(tale: Tale):
    """Else they would catch anything."""
    tale()


def test_a_stale_fence_is_refused():
    """What the mutants of fences take away."""
    seen = memory.PassingMemory()
    seen.raise_fence("m", 3)
    with pytest.raises(Stale):
        seen.raise_fence("m", 2)
