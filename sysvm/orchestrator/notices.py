"""What hosts and agents say without being asked. It wakes turns; what counts is what those then see.

The exceptions carry facts of their own: the load of a console proxy, drift that was mended, and a browser's ticket.

News wait for a database that is away, and those behind them on the same link too: nothing is lost. A question does not
wait: whoever asked is told to ask again.
"""

from collections.abc import Callable

import msgspec

from sysvm.basics.errors import DatabaseAway, NotYet, Refused
from sysvm.basics.log import get_logger
from sysvm.orchestrator import consoles
from sysvm.orchestrator.context import Context
from sysvm.orchestrator.engine import AWAY_S
from sysvm.orchestrator.turns import hosttasks
from sysvm.orchestrator.turns.ending import ALERT_OF, about, actor, words_of
from sysvm.store import tables
from sysvm.store.queries import (
    alerts,
    events,
    image_stores,
    links,
    load_balancers,
    router_health,
    turns,
    usage,
    vpn_sites,
)
from sysvm.store.queries.machines import machine_by_uuid
from sysvm.store.store import Tx
from sysvm.wire import channel
from sysvm.wire.link import FromAgent, HostNoticeBody, HostTaskReport, InventoryDigest, MachineChanged
from sysvm.wire.machines import Kind

log = get_logger()


class Notices:
    """The ear of this server process."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._inventories: dict[int, str] = {}

    async def hear(self, host_id: int, notice: HostNoticeBody) -> None:
        """News from a host."""
        match notice:
            case MachineChanged(machine=machine):
                await self._run(lambda tx: links.stir_machine(tx, host_id, machine))
            case InventoryDigest(digest=digest):
                await self._inventory(host_id, digest)
            case HostTaskReport(task=task):
                await self._run(lambda tx: _host_task(tx, host_id, task.name))
            case FromAgent(machine=machine, notice=said) if said is not None:
                await self._agent(host_id, machine, said)

    async def ask(self, host_id: int, ask: FromAgent) -> msgspec.Struct:
        """A question from the agent of a system VM."""
        try:
            return await self._answer(ask)
        except DatabaseAway as away:
            raise NotYet(AWAY_S, str(away)) from away

    async def _answer(self, ask: FromAgent) -> msgspec.Struct:
        match ask.ask:
            case channel.RedeemTicket() as redeem:
                context = self._context
                return await context.store.run(lambda tx: consoles.redeem(tx, context, ask.machine, redeem))
            case channel.ResumeSession() as resume:
                context = self._context
                return await context.store.run(lambda tx: consoles.resume(tx, context, ask.machine, resume))
            case channel.ReachServer():
                return channel.ServerReached(now=self._context.clock.now())
            case _:
                raise Refused("a notice is no question")

    async def _run(self, op: Callable[[Tx], None]) -> None:
        context = self._context
        while True:
            try:
                return await context.together.run(op)
            except DatabaseAway:
                await context.clock.sleep(AWAY_S)

    async def _inventory(self, host_id: int, digest: str) -> None:
        """A host whose inventory is not the one we know is looked at; the first one too: between the look at its link and
        now a notice may have been lost."""
        if self._inventories.get(host_id) != digest:
            await self._run(lambda tx: _look_at_all(tx, host_id))
            self._inventories[host_id] = digest

    async def _agent(self, host_id: int, machine: str, said: channel.AgentNoticeBody) -> None:
        match said:
            case channel.LoadReport():
                await self._run(lambda tx: consoles.load(tx, machine, said))
            case channel.DriftReport():
                await self._run(lambda tx: _drift(tx, machine, said))
            case channel.MembersReport():
                await self._run(lambda tx: load_balancers.heard(tx, machine, said.members))
            case channel.TunnelsReport():
                await self._run(lambda tx: vpn_sites.heard(tx, machine, said.tunnels))
            case channel.TrafficReport():
                await self._run(lambda tx: usage.metered(tx, machine, said))
            case channel.StoresReport():
                await self._run(lambda tx: image_stores.heard(tx, machine, said))
            case channel.HealthReport():
                await self._run(lambda tx: router_health.heard(tx, machine, said))
            case channel.TaskReport():
                await self._run(lambda tx: _task(tx, machine))
            case channel.AgentHello() | channel.AgentReport() | channel.RedundancyReport():
                await self._run(lambda tx: links.stir_machine(tx, host_id, machine))


def _host_task(tx: Tx, host_id: int, name: str) -> None:
    if not hosttasks.stir(tx, name):
        links.stir_placements(tx, host_id)


def _look_at_all(tx: Tx, host_id: int) -> None:
    links.stir_placements(tx, host_id)
    turns.look_again(tx, "sweep", host_id)


def _task(tx: Tx, machine: str) -> None:
    """Whoever waits for work inside this machine looks again."""
    row = machine_by_uuid(tx, machine)
    if row is None:
        return
    for table, kind in ((tables.template_copy, "template"), (tables.task, "task")):
        busy = tx.sql(f"select id from {table.name} where machine_id = :id and removed is null", id=row.id)
        for (id_,) in busy:
            turns.look_again(tx, kind, id_)


def _drift(tx: Tx, machine: str, said: channel.DriftReport) -> None:
    row = machine_by_uuid(tx, machine)
    if row is None:
        return
    kind = Kind(row.kind)
    text = f"{words_of(row).title} {row.name}: {said.service} was not as configured ({said.difference})"
    text += "; mended" if said.mended else "; could not be mended"
    type_ = "ROUTER.HEALTH.CHECKS" if kind is Kind.ROUTER else f"{words_of(row).event}.HEALTH.CHECKS"
    level = "WARN" if said.mended else "ERROR"
    events.record(tx, type_, text, actor=actor(row), about=about(row), level=level)
    if not said.mended:
        alerts.raise_alert(tx, ALERT_OF[kind], text, zone=row.zone_id)
