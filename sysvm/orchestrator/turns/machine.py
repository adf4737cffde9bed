"""A machine's turn: from what is wanted and what its placements last said to the next step. Speaks with the database only."""

from sysvm.basics.errors import Stale
from sysvm.orchestrator.context import Context
from sysvm.orchestrator.engine import Gone, Outcome, Result
from sysvm.orchestrator.turns import draining, ending, migrating, placing, relocating
from sysvm.orchestrator.turns.notes import in_note_of
from sysvm.store import tables
from sysvm.store.queries import brakes, consoles, jobs, machines, placements, router_pairs, security_groups, turns
from sysvm.store.queries.turns import Turn
from sysvm.store.store import Row, Tx
from sysvm.systemvms import machine as plans
from sysvm.systemvms import migration, relocation, safety
from sysvm.systemvms.machine import MachineWanted, PlacementSeen
from sysvm.wire.machines import Kind, Moving, Power, Runtime

SETTLED_S = 600.0
JOBS_AT_ONCE = 32
complain = in_note_of(tables.machine)


async def work(context: Context, turn: Turn) -> Outcome:
    """Plans and takes one step; everything is written by the release."""
    step = await context.together.look(lambda tx: decide(tx, turn))
    if step is None:
        return Gone()
    match step:
        case plans.Wait(seconds, why):
            return Result(seconds, lambda tx: complain(tx, turn.id, why))
        case plans.Served("gone"):
            return Gone(lambda tx: _served(tx, turn, "gone"))
        case plans.Served(outcome):
            return Result(SETTLED_S, lambda tx: _served(tx, turn, outcome))
        case plans.Place():
            # Not by the release: why there is no place (NotYet) must be written although nothing else is.
            await context.together.look(lambda tx: _place(tx, context, turn, step))
            return Result(60.0)
        case draining.Drain(machine):
            return Result(draining.LOOK_S, lambda tx: consoles.begin_drain(tx, machine))
        case plans.Tell(placement, wanted):
            # One that serves no more is not waited for: the plan may go on at once.
            return Result(0.0 if wanted == "gone" else 60.0, lambda tx: _tell(tx, placement, wanted, turn.wish))
        case migration.Land() | migration.Arrive() | migration.Stay():
            return Result(0.0, lambda tx: migrating.take(tx, turn.id, turn.wish, step))
        case plans.FallBack(incarnation, why):
            return Result(0.0, lambda tx: _fall_back(tx, turn.id, incarnation, why))
        case plans.Drop(placement):
            return Result(0.0, lambda tx: _drop(tx, placement))


def decide(tx: Tx, turn: Turn) -> migration.MoveStep | draining.Drain | None:
    """The next step, or None for a machine that is no more."""
    machine = tx.get(tables.machine, turn.id)
    if machine is None or machine.removed is not None:
        return None
    want = MachineWanted(
        kind=Kind(machine.kind),
        wanted=machine.wanted,
        incarnation=machine.incarnation,
        wish=turn.wish,
        moves_to=machine.wanted_host_id,
        beside=(beside := _beside(tx, machine)),
        apart=relocating.other_host(tx, machine) if beside is None else None,
    )
    placed = tuple(_seen(tx, machine, row) for row in machines.placements_of(tx, machine.id))
    step = _next(machine, want, placed)
    if isinstance(step, plans.Tell) and (why := _must_serve_on(tx, machine, step.placement, step.wanted)):
        return plans.Wait(30, why)
    if safety.is_rebuilding(step, machine.wanted, machine.incarnation, placed):
        why = brakes.why_not(tx, machine.zone_id, elsewhere=True)
        return plans.Wait(safety.AGAIN_S, why) if why else step
    return draining.first(tx, machine, step)


def _next(machine: Row, want: MachineWanted, placed: tuple[PlacementSeen, ...]) -> migration.MoveStep:
    if want.kind is Kind.ROUTER:
        return relocation.plan(want, placed) or plans.plan_machine(want, placed)
    if want.kind is not Kind.GUEST:
        return plans.plan_machine(want, placed)
    moves = migration.Moves(want.wanted, want.incarnation, want.wish, machine.host_id, machine.migrate_host_id)
    return migration.plan(moves, placed) or plans.plan_machine(want, migration.beside(moves, placed))


def _seen(tx: Tx, machine: Row, row: Row) -> PlacementSeen:
    host = tx.get(tables.host, row.host_id)
    return PlacementSeen(
        id=row.id,
        incarnation=row.incarnation,
        host=row.host_id,
        host_lost=host is None or host.removed is not None,
        wanted=row.wanted,
        power=Power(row.power),
        told=row.told,
        settled=row.settled,
        runtime=Runtime(machine.runtime),
        serves=bool(row.document_live),
        age_s=tx.now - row.created,
        failures=row.failures,
        note=row.note,
        moving=Moving(row.moving),
    )


def _beside(tx: Tx, machine: Row) -> int | None:
    """The host on which the next incarnation of a router can run beside the one that serves."""
    if machine.kind != Kind.ROUTER or machine.forced or machine.wanted != "running" or machine.redundant:
        return None  # the other one of a pair serves meanwhile
    old = [row for row in machines.placements_of(tx, machine.id) if row.incarnation != machine.incarnation]
    return old[-1].host_id if old and placing.has_room_beside(tx, machine, old[-1].host_id) else None


def _place(tx: Tx, context: Context, turn: Turn, step: plans.Place) -> None:
    if not turns.holds(tx, context.session, turn):
        raise Stale("the turn was taken")
    if step.apart is not None:
        relocating.begin(tx, context, turn.id, step.apart, turn.wish)
        return
    _tell(tx, placing.place(tx, context, turn.id, step.beside), "running", turn.wish)


def _tell(tx: Tx, placement: int, wanted: str, wish: int) -> None:
    row = tx.get(tables.placement, placement)
    assert row is not None
    machine = tx.get(tables.machine, row.machine_id)
    assert machine is not None
    if _must_serve_on(tx, machine, placement, wanted):
        return  # the other one of its pair has begun to stop meanwhile
    machines.tell(tx, machine, row, wanted, wish)
    if machine.kind == Kind.ROUTER and wanted == "running" and row.host_id != machine.host_id:
        relocating.arrive(tx, machine, row)
    if machine.draining and wanted != "running":
        consoles.end_drain(tx, machine.id)


def _must_serve_on(tx: Tx, machine: Row, placement: int, wanted: str) -> str:
    """Why one of a pair may not stop yet for its next incarnation; empty when it may, or does not."""
    row = tx.get(tables.placement, placement)
    if row is None or (machine.wanted, row.wanted, wanted) != ("running", "running", "gone"):
        return ""
    return router_pairs.must_serve_on(tx, machine)


def _drop(tx: Tx, placement: int) -> None:
    row = tx.get(tables.placement, placement)
    assert row is not None
    tx.update(tables.placement, placement, removed=tx.now, power="absent")
    machine = tx.get(tables.machine, row.machine_id)
    assert machine is not None
    # The next placement's turn begins above every fence that the host may have seen of this one.
    fence = turns.forget(tx, "placement", placement)
    tx.update(tables.machine, machine.id, fence=max(machine.fence, fence))
    placements.recount(tx, row.host_id)
    placements.show(tx, machine.id)
    ending.leave_host(tx, row)
    migrating.left_behind(tx, row)
    turns.look_again(tx, security_groups.KIND, row.host_id)  # its ports are held to nothing any more


def _fall_back(tx: Tx, machine_id: int, incarnation: int, why: str) -> None:
    machine = tx.get(tables.machine, machine_id)
    assert machine is not None
    tx.update(tables.machine, machine_id, incarnation=incarnation)
    relocating.stayed(tx, machine, why)
    placements.show(tx, machine_id)
    turns.wish(tx, "machine", machine_id)
    jobs.fail(tx, "machine", machine_id, ending.not_replaced(tx, machine, why), outcome="running")


def _served(tx: Tx, turn: Turn, outcome: str) -> None:
    machine = tx.get(tables.machine, turn.id)
    assert machine is not None
    if outcome == "gone":
        ending.end(tx, machine)
    else:
        ending.reached(tx, machine, outcome)
    most = None if outcome == "gone" else JOBS_AT_ONCE
    if not jobs.settle(tx, "machine", machine.id, turn.wish, outcome, most=most):
        turns.look_again(tx, "machine", machine.id)
