"""A placement's turn: look at the host, do the one next act, write down what is there.

The only turns that change a host. Everything that decides is `systemvms.machine.plan_placement`.
"""

from dataclasses import dataclass
from typing import Any

import msgspec

from sysvm.basics.digest import digest
from sysvm.basics.edge import edge
from sysvm.basics.errors import NotYet
from sysvm.orchestrator.context import Context
from sysvm.orchestrator.engine import Gone, Outcome, Result
from sysvm.orchestrator.turns import ending, migrating, placing, preparation, relocating
from sysvm.orchestrator.turns.preparation import Step
from sysvm.store import tables
from sysvm.store.queries import brakes, documents, machines, placements, router_pairs, specs, strays, turns, volumes
from sysvm.store.queries.turns import Turn
from sysvm.store.store import Row, Tx
from sysvm.systemvms import machine as plans
from sysvm.systemvms import maintenance, safety
from sysvm.systemvms.machine import PlacementAct, PlacementWanted
from sysvm.wire import channel, link
from sysvm.wire.documents import RouterDocument, SystemVmDocument
from sysvm.wire.machines import Kind, MachineSeen, MachineSpec, Moving, Power, Runtime, spec_digest

RECHECK_S = 600.0
GRACE_S = 10.0
UNCHANGED_S = 1.0
ACT_S = 120.0
OFF = (Power.ABSENT, Power.STOPPED)


@dataclass(frozen=True, slots=True)
class Job:
    """Everything a turn needs to know before it looks."""

    placement: Row
    machine: str
    host: int
    want: PlacementWanted
    spec: MachineSpec | None
    document: SystemVmDocument | None
    steps: tuple[Step, ...]
    order: link.EnsureLanding | link.EnsureSent | None = None  # of what moves while it runs
    withdrawn: bool = False  # its host has, or was to have, what is on another one
    lived: bool = False  # it ran, nobody asked it to end, and its host was not booted since


async def work(context: Context, turn: Turn) -> Outcome:
    """One look and at most one act."""
    job = await context.together.look(lambda tx: load(tx, context, turn.id))
    if job is None:
        return Gone()
    link_ = context.links.to(job.host)
    await edge("placement before look")
    looked = await link_.call(link.Look(machine=job.machine), link.Looked)
    before = _of(looked, job.want.incarnation)
    act = plans.plan_placement(job.want, before, _silent_s(job.placement, context.clock.now()))
    if isinstance(act, plans.Configure) and job.document is None:
        act = plans.Wait(0.0, "")  # it is up already: what it is to be told is the next turn's to find out
    if safety.is_revival(act, lived=job.lived):
        act = await context.store.read(lambda tx: _braked(tx, job, before, act))
    await edge("placement before act")
    seen, after, note = await _perform(context, turn, job, act, before)
    await edge("placement after act")
    if after == 0.0:
        act, after, note = _next(job, seen, act)
    return Result(after, lambda tx: record(tx, job, before, seen, act, note))


def _silent_s(placement: Row, now: float) -> float:
    """For how long it has been known to run without its agent."""
    if placement.power != Power.RUNNING or placement.agent_up:
        return 0.0
    return now - max(placement.since or now, placement.agent_since or 0.0)


def _braked(tx: Tx, job: Job, before: MachineSeen | None, act: PlacementAct) -> PlacementAct:
    """What comes instead of giving it another life: its death is written down first, and then it may have to wait."""
    if died := _found_dead(job.placement, before):
        return plans.Wait(0.0, f"it died: {died}")
    zone = tx.get(tables.host, job.host).zone_id  # type: ignore[union-attr]
    why = brakes.why_not(tx, zone, elsewhere=False)
    return plans.Wait(safety.AGAIN_S, why) if why else act


def _of(looked: link.Looked, incarnation: int) -> MachineSeen | None:
    return next((seen for seen in looked.incarnations if seen.incarnation == incarnation), None)


def _next(job: Job, seen: MachineSeen | None, act: PlacementAct) -> tuple[PlacementAct, float, str]:
    """What the host answered to the act is a look, too: when nothing is left to be done, no further turn is needed."""
    match plans.plan_placement(job.want, seen, 0.0):
        case plans.Settled() as settled:
            return settled, RECHECK_S, ""
        case plans.Wait(seconds, why):
            return act, seconds, why
        case same if same == act and not isinstance(act, plans.Prepare):
            # A host that says done and has changed nothing must not make a loop of it.
            return act, UNCHANGED_S, f"the host has done {type(act).__name__.lower()}, but nothing has changed"
        case _:
            return act, 0.0, ""


def load(tx: Tx, context: Context, id_: int) -> Job | None:
    """What the placement shall be. It writes at most a renewed certificate."""
    placement = tx.get(tables.placement, id_)
    if placement is None or placement.removed is not None:
        return None
    machine, host = tx.get(tables.machine, placement.machine_id), tx.get(tables.host, placement.host_id)
    assert machine is not None and host is not None
    _wait_where_needed(tx, placement, machine, host)
    spec, document = _asked(tx, context, placement, machine, host)
    steps = preparation.steps(tx, machine, host) if spec is not None else ()
    want = _wanted(tx, placement, machine, host, spec, document, prepared=not steps)
    if spec is not None and machine.kind == Kind.ROUTER:
        order = relocating.order(tx, machine, placement, spec)
    else:
        order = migrating.order(tx, machine, placement, host, spec)
    withdrawn = machine.kind == Kind.GUEST and machine.host_id != placement.host_id
    lived = _lived(placement, host)
    return Job(placement, machine.uuid, host.id, want, spec, document, steps, order, withdrawn, lived)


def _is_off(placement: Row) -> bool:
    """It is to run and does not: nobody is there to be told anything."""
    return placement.wanted == "running" and placement.power in OFF


def _wait_where_needed(tx: Tx, placement: Row, machine: Row, host: Row) -> None:
    """Raises NotYet while nothing may be done about this placement."""
    if why := strays.must_wait(tx, host.id):
        raise NotYet(5, why)
    if not _is_off(placement):
        return
    if host.resource_state in maintenance.STATES:
        raise NotYet(30, f"host {host.name} is in maintenance; use cancelHostMaintenance")
    if machine.kind == Kind.GUEST and (why := volumes.why_wait(tx, machine.id)):
        raise NotYet(1, why)


def _asked(
    tx: Tx, context: Context, placement: Row, machine: Row, host: Row
) -> tuple[MachineSpec | None, SystemVmDocument | None]:
    """What its host is asked to run, and what the agent inside is told, if it may be there; nothing of a placement that is to
    stop or go."""
    if placement.wanted not in ("running", "incoming", "away"):
        return None, None
    state_key = context.keys.vault.open(machine.state_key) if machine.state_key else ""
    spec = specs.spec_of(tx, machine, placement, state_key)
    if placement.wanted == "incoming" and machine.kind == Kind.GUEST:
        spec = migrating.as_taken_in(tx, machine, host, spec)
    document = documents.document_of(tx, machine, context.keys) if not _is_off(placement) else None
    if machine.kind == Kind.ROUTER:
        assert document is None or isinstance(document, RouterDocument)
        return relocating.as_there(tx, machine, placement, spec, document)
    return spec, document


def _wanted(
    tx: Tx, placement: Row, machine: Row, host: Row,
    spec: MachineSpec | None, document: SystemVmDocument | None, *, prepared: bool,
) -> PlacementWanted:  # fmt: skip
    return PlacementWanted(
        kind=Kind(machine.kind),
        incarnation=placement.incarnation,
        wanted=placement.wanted,
        spec=spec_digest(spec) if spec is not None else "",
        document=digest(document) if document is not None else _untold(placement, machine),
        prepared=prepared,
        grace_s=0.0 if machine.forced else GRACE_S,
        deaths=_deaths_before(placement),
        down_s=0.0 if placement.power == Power.RUNNING else tx.now - (placement.since or 0.0),
        runtime=spec.runtime if spec is not None else Runtime.CONTAINER,
        current=placement.incarnation == machine.incarnation,
        keep_network=_keeps_network(tx, machine, placement, host),
    )


def _untold(placement: Row, machine: Row) -> str | None:
    return plans.UNTOLD if _is_off(placement) and machine.kind != Kind.GUEST else None


def _deaths_before(placement: Row) -> int:
    """Without the one that it is dead of now."""
    return int(placement.failures if placement.power == Power.RUNNING else max(0, placement.failures - 1))


def _lived(placement: Row, host: Row) -> bool:
    ran = placement.power == Power.RUNNING or placement.failures > 0
    return placement.wanted == "running" and ran and not _ended_with_host(placement, host)


def _ended_with_host(placement: Row, host: Row) -> bool:
    """The host was booted since: what ran then needs no look to be dead."""
    return host.booted is not None and (placement.since or 0.0) <= host.booted


def _keeps_network(tx: Tx, machine: Row, placement: Row, host: Row) -> bool:
    """What is in a router's kernel is the next incarnation's; of one of a pair it would answer beside the one that serves."""
    if machine.kind != Kind.ROUTER or machine.redundant or machine.wanted != "running":
        return False
    return _stays(tx, machine, placement, host)


def _stays(tx: Tx, machine: Row, placement: Row, host: Row) -> bool:
    """Whether the next incarnation is here or comes here: else what is kept would go on answering for the addresses."""
    if machine.host_id != placement.host_id:
        return False  # it is another host's now, or did not come to be this one's
    if host.resource_state in maintenance.STATES or machine.wanted_host_id not in (None, placement.host_id):
        return False
    if placement.wanted != "gone" or any(row.id != placement.id for row in machines.placements_of(tx, machine.id)):
        return True
    try:
        return bool(placing.choose(tx, machine.id).id == placement.host_id)
    except NotYet:
        return True  # there is none for now, and this one knows it


async def _perform(
    context: Context, turn: Turn, job: Job, act: PlacementAct, seen: MachineSeen | None
) -> tuple[MachineSeen | None, float, str]:
    """Does the act: what is there afterwards, when to look again, and what to say about it."""
    match act:
        case plans.Settled():
            return seen, RECHECK_S, ""
        case plans.Wait(seconds, why):
            return seen, seconds, why
        case plans.Prepare():
            after, note = await preparation.perform(context, turn, job.host, job.steps[0])
            return seen, after, note
        case plans.Configure():
            return await _configure(context, turn, job, seen)
        case _:
            done = await context.links.to(job.host).call(
                link.Do(machine=job.machine, fence=turn.fence, act=_order(job, act)), link.Done, seconds=ACT_S
            )
            return _of(done.seen, job.want.incarnation), 0.0, ""


def _order(job: Job, act: PlacementAct) -> link.ActBody:
    incarnation = job.want.incarnation
    match act:
        case plans.Stop(grace_s):
            return link.EnsureStopped(incarnation=incarnation, grace_s=grace_s)
        case plans.Remove(keep_network):
            return link.EnsureRemoved(incarnation=incarnation, kept_network=keep_network, withdrawn=job.withdrawn)
    assert job.spec is not None
    match act:
        case plans.TakeIn() | plans.Send():
            if job.order is None:
                raise NotYet(1, "it does not move any more")
            return job.order
        case plans.Start():
            return link.EnsureRunning(spec=job.spec)
        case plans.Renic():
            return link.EnsureNics(spec=job.spec)
        case plans.HandOver():
            return link.EnsureHandover(spec=job.spec)
    raise AssertionError(f"{act} is no order")


async def _configure(context: Context, turn: Turn, job: Job, seen: MachineSeen | None) -> tuple[MachineSeen | None, float, str]:
    assert job.document is not None and seen is not None
    order = link.ToAgent(
        machine=job.machine,
        incarnation=job.want.incarnation,
        fence=turn.fence,
        body=channel.Apply(job.document),
    )
    report = await context.links.to(job.host).call(order, channel.AgentReport, seconds=ACT_S)
    said_now = {"live": report.live, "faults": report.faults, "standby": report.standby, "ready": report.ready,
                "notes": report.notes, "redundancy": report.redundancy}  # fmt: skip
    agent = seen.agent and msgspec.structs.replace(seen.agent, **said_now)
    after = msgspec.structs.replace(seen, agent=agent)
    if job.want.document in (report.live, report.ready):
        return after, 0.0, ""
    said = "; ".join(f"{fault.service}: {fault.why}" for fault in report.faults)
    raise NotYet(5.0, said or "the agent has not made its document live")


# ---------------------------------------------------------------- what was seen
def record(tx: Tx, job: Job, before: MachineSeen | None, seen: MachineSeen | None, act: PlacementAct, note: str) -> None:
    """Writes transitions, and lets the machine's turn know of them. A death that the act has mended is one too."""
    old = tx.get(tables.placement, job.placement.id)
    assert old is not None
    if job.want.current:
        router_pairs.saw(tx, old.machine_id, seen.agent.redundancy if seen is not None and seen.agent is not None else "")
    settled = isinstance(act, plans.Settled) and old.wanted == job.want.wanted
    new = _facts(job, seen, note)
    if settled:
        # What was told before this turn loaded its job is served by what it found.
        new["settled"] = job.placement.told
    died = _found_dead(old, before)
    counts = (bool(died) and job.lived) or _nobody_home(job, act)  # a host that was booted is no death of its machines
    new["failures"] = _deaths(tx, old, settled=settled, died=counts)
    if seen is not None and seen.returned:
        new["failures"] = plans.DEATHS_BEFORE_ALERT  # it has had its try
    elif new["failures"] == plans.DEATHS_BEFORE_ALERT > old.failures:
        ending.keeps_dying(tx, old, died or "its agent does not answer")
    if died:
        ending.found_dead(tx, old, died)
    elif old.agent_boot and new["agent_boot"] not in ("", old.agent_boot):
        ending.found_restarted(tx, old)
    if died or new["power"] != old.power:
        new["since"] = tx.now
    if new["agent_up"] != old.agent_up:
        new["agent_since"] = tx.now
    changed = {name: value for name, value in new.items() if value != getattr(old, name)}
    if not changed:
        return
    tx.update(tables.placement, old.id, **changed)
    if changed.keys() & set(placements.MIRRORED):
        placements.show(tx, old.machine_id)
    # A machine that waits for its host waits for the wish to be served, whatever happens on the way.
    waits = old.settled < old.told and "settled" not in changed
    serves_no_more = not job.want.current and "document_live" in changed  # the next incarnation does: nobody waits for it
    if changed.keys() - {"note", "spec_seen", "agent_since"} and (serves_no_more or not waits):
        turns.look_again(tx, "machine", old.machine_id)


def _deaths(tx: Tx, old: Row, *, settled: bool, died: bool) -> int:
    """How often in a row it has died now."""
    stable = old.power == Power.RUNNING and tx.now - (old.since or tx.now) >= plans.STABLE_S
    rested = settled and old.wanted != "running"
    before = 0 if stable or rested else int(old.failures)
    return before + died


def _nobody_home(job: Job, act: PlacementAct) -> bool:
    return isinstance(act, plans.Stop) and job.want.wanted == "running"


def _found_dead(old: Row, before: MachineSeen | None) -> str:
    """How it died, when it was last seen running and should be; empty when it did not."""
    if old.power != Power.RUNNING or old.wanted != "running":
        return ""
    power = before.power if before is not None else Power.ABSENT
    if power not in (Power.STOPPED, Power.ABSENT):
        return ""
    return before.why or "its processes ended" if before is not None else "its host no longer has it"


def _facts(job: Job, seen: MachineSeen | None, note: str) -> dict[str, Any]:
    agent = seen.agent if seen is not None else None
    return {
        "power": str(seen.power) if seen is not None else str(Power.ABSENT),
        "agent_up": agent is not None,
        # Remembered while no agent is connected, so that another one is known to be another one.
        "agent_boot": agent.boot if agent is not None else job.placement.agent_boot,
        "spec_wanted": job.want.spec,
        "spec_seen": seen.spec if seen is not None else "",
        "document_wanted": job.want.document if job.document is not None else "",
        "document_live": agent.live if agent is not None else "",
        "faults": [msgspec.to_builtins(fault) for fault in agent.faults] if agent is not None else [],
        "service_notes": list(agent.notes) if agent is not None else [],
        "note": note or (seen.why if seen is not None and seen.moving is Moving.FAILED else ""),
        "moving": str(seen.moving) if seen is not None else "",
        "landing": msgspec.to_builtins(seen.landing) if seen is not None and seen.landing is not None else None,
    }


def complain(tx: Tx, id_: int, why: str) -> None:
    """The reason stands in the placement's and the machine's note."""
    placement = tx.get(tables.placement, id_)
    if placement is None or placement.note == why:
        return
    tx.update(tables.placement, id_, note=why)
    placements.show(tx, placement.machine_id)
