"""The sessions of this server process, one after another: who works here, and under which name.

Engine and upkeep run in the name of a session. When it is lost (the database was away for longer than a session lives, or
this process stood still), they end, and the process goes on under a new one as soon as the database answers. The API and
the links of hosts outlive that: a database that was restarted does not make ten thousand hosts dial again. Those hosts
that another server has meanwhile are let go; and when the database stays away from this server, all are, so that they
find one that it is not away from.

Races thought of: workers of the old session may have an act or a commit under way when they are cancelled; their turns
are free only with the new session, and the next claim has a higher fence. A host may link while the session ends: the hub
takes links only for a session that lives (hub/server.py).
"""

from dataclasses import replace
from functools import partial
from typing import Protocol

from sysvm.basics.errors import DatabaseAway
from sysvm.basics.log import get_logger
from sysvm.basics.tasks import Tasks
from sysvm.orchestrator import upkeep
from sysvm.orchestrator.context import Context
from sysvm.orchestrator.engine import AWAY_S, Engine, SessionLost
from sysvm.orchestrator.turns import KINDS
from sysvm.store.queries import sessions
from sysvm.store.store import Tx

LINKS_KEPT_S = 30.0

log = get_logger()


class Gate(Protocol):
    """Where hosts link to this process: the hub."""

    async def open(self, session: str) -> None:
        """Links are taken in the name of `session`."""
        ...

    def close(self) -> None:
        """No link stands, and none is taken until the next `open`."""
        ...


class Sessions:
    """`context` is that of the session that lives now."""

    def __init__(self, context: Context, server: sessions.Server, gates: tuple[Gate, ...], *, seed: int | None = None) -> None:
        self.context = context
        self._server = server
        self._gates = gates
        self._seed = seed

    async def run(self) -> None:
        """Works until cancelled."""
        while True:
            async with Tasks() as tasks:
                tasks.start(self._work(tasks), "engine")
                tasks.start(upkeep.run(self.context), "upkeep")
            await self._go_on()

    async def _work(self, tasks: Tasks) -> None:
        """Until the session is lost. Not by an error of the group: one that ends so forgets that it was cancelled meanwhile."""
        try:
            await Engine(self.context, KINDS, seed=self._seed).run()
        except* SessionLost:
            log.warning("session_lost", session=self.context.session)
            tasks.stop()

    async def _go_on(self) -> None:
        old, new = self.context, self.context.ids.uuid()
        lost = old.clock.now()
        while True:
            try:
                linked = old.links.ids()
                kept = await old.store.run(partial(self._succeed, old.session, new, linked))
                break
            except DatabaseAway as away:
                if old.clock.now() - lost > LINKS_KEPT_S:
                    self._close(str(away))
                await old.clock.sleep(AWAY_S)
        self.context = replace(old, session=new)
        old.links.keep(kept)
        for gate in self._gates:
            await gate.open(new)
        log.info("session_begun", session=new, instead_of=old.session, hosts_kept=len(kept))

    def _succeed(self, old: str, new: str, linked: frozenset[int], tx: Tx) -> frozenset[int]:
        return sessions.succeed(tx, old, new, self._server, linked)

    def _close(self, why: str) -> None:
        for gate in self._gates:
            gate.close()
