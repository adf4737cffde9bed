"""When a router's checks of itself are made, and when their results are told.

Each kind is made as often as the document says, the first time a while after the document came. Results are told when one has
turned out otherwise than before, and all of them every so often. A router that stands by checks nothing.

A check that fails is made once more after a pause before it is told: what the watch (role.py) mends by itself alarms nobody.
"""

import asyncio
from collections.abc import Callable

from sysvm.agent.roles import Context
from sysvm.agent.roles.router import health
from sysvm.agent.roles.router.health import Looks, Usage
from sysvm.wire.documents import RouterDocument
from sysvm.wire.health import Checked, Checks, HealthReport

_LOOK_S = 1.0
_FIRST_S = 5.0
_PAUSE_S = 3.0  # longer than the watch takes


class Checking:
    """Of one router. `serving` gives the document while this incarnation serves, `looks` what the role knows (blocking)."""

    def __init__(self, context: Context, serving: Callable[[], RouterDocument | None], looks: Callable[[], Looks]) -> None:
        self._context = context
        self._serving = serving
        self._looks = looks
        self._alone = asyncio.Lock()
        self._found: dict[str, Checked] = {}
        self._told: dict[str, bool | None] = {}
        self._told_at = 0.0
        self._cpu = Usage()

    async def watch(self) -> None:
        """For ever."""
        due = dict.fromkeys(Checks, self._context.clock.now() + _FIRST_S)
        while True:
            await self._context.clock.sleep(_LOOK_S)
            document, now = self._serving(), self._context.clock.now()
            if document is None or document.health is None:
                continue
            every = {Checks.BASIC: document.health.basic_s, Checks.ADVANCED: document.health.advanced_s}
            kinds = [kind for kind in Checks if every[kind] and due[kind] <= now]
            if not kinds:
                continue
            due |= {kind: now + every[kind] for kind in kinds}
            await self._make(document, kinds)
            await self._tell(document.health.tell_s)

    async def fresh(self, document: RouterDocument) -> HealthReport:
        """Every check, now."""
        await self._make(document, list(Checks))
        return self._report()

    async def _make(self, document: RouterDocument, kinds: list[Checks]) -> None:
        async with self._alone:
            made = await asyncio.to_thread(self._run, document, kinds)
            failed = frozenset(one.name for one in made if one.good is False)
            if failed:
                await self._context.clock.sleep(_PAUSE_S)
                again = await asyncio.to_thread(self._run, document, kinds, failed)
                made = (*(one for one in made if one.name not in failed), *again)
            kept = {name: one for name, one in self._found.items() if one.kind not in kinds}
            self._found = {**kept, **{one.name: one for one in made}}

    def _run(self, document: RouterDocument, kinds: list[Checks], only: frozenset[str] | None = None) -> tuple[Checked, ...]:
        wanted, now = document.health, self._context.clock.now()
        if wanted is None:
            return ()
        checks = []
        if Checks.BASIC in kinds:
            checks += health.basic(document, wanted, self._looks, self._context.paths, self._cpu, now)
        if Checks.ADVANCED in kinds:
            checks += health.advanced(document, wanted, self._looks)
        return health.run([check for check in checks if only is None or check[0] in only], now)

    async def _tell(self, tell_s: int) -> None:
        now, verdicts = self._context.clock.now(), {name: one.good for name, one in self._found.items()}
        if verdicts == self._told and now - self._told_at < tell_s:
            return
        if self._context.line.is_up:
            self._told, self._told_at = verdicts, now
            await self._context.line.notify(self._report())

    def _report(self) -> HealthReport:
        return HealthReport(checks=tuple(self._found[name] for name in sorted(self._found)))
