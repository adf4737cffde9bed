"""The name server of console proxies: Knot DNS, run beside this server while `consoleproxy.dns.listen` says where.

Its files follow zones, ranges and settings; Knot reads them again at a SIGHUP, so that no question goes unanswered meanwhile.
Beside them, `<domain>.records` is always kept: the same names as plain records, for those who run a name server of their own.

Knot runs as nobody with the one capability that port 53 needs, and ends with this process however that ends (setpriv(1)
--pdeathsig). Races thought of: it may die at any time (it is started again, with a pause), a port may be somebody else's (an
alert with what Knot said, and another try at the next look).
"""

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sysvm.basics.clock import Clock
from sysvm.basics.errors import DatabaseAway
from sysvm.basics.log import get_logger
from sysvm.store import tables
from sysvm.store.queries import alerts, settings
from sysvm.store.queries.alerts import AlertType
from sysvm.store.queries.consoles import url_domain
from sysvm.store.store import Store, Tx
from sysvm.store.tables import unpack_address
from sysvm.systemvms import names
from sysvm.systemvms.names import Domain

LAST_WORDS = 300
WRITTEN = (".records", ".zone", ".conf")
PROGRAM = "/usr/sbin/knotd"
# As root: become nobody, keep the right to a low port. Changing the user would clear the death signal, so it is set last.
AS_NOBODY = (
    "--reuid=nobody", "--regid=nogroup", "--clear-groups",
    "--inh-caps=-all,+net_bind_service", "--ambient-caps=-all,+net_bind_service", "--bounding-set=-all,+net_bind_service",
)  # fmt: skip

log = get_logger()


@dataclass(frozen=True, slots=True)
class Facts:
    """What the name server has to be."""

    listen: tuple[str, int] | None
    domains: tuple[Domain, ...]


def facts(tx: Tx) -> Facts:
    """As zones, ranges and settings say. Domains that are no wildcard are somebody else's to name."""
    ranges: dict[str, list[tuple[str, str]]] = {}
    for zone in tx.rows(tables.zone, "removed is null order by id"):
        domain = url_domain(tx, zone.id)
        if domain.startswith("*."):
            ranges.setdefault(domain[2:].lower(), []).extend(_public_ranges(tx, zone.id))
    listen = str(settings.value(tx, "consoleproxy.dns.listen") or "")
    domains = tuple(Domain(name, tuple(held)) for name, held in sorted(ranges.items()) if held)
    return Facts(names.parse_listen(listen) if listen else None, domains)


def _public_ranges(tx: Tx, zone_id: int) -> Iterator[tuple[str, str]]:
    where = "zone_id = :zone and traffic = 'Public' and first is not null and removed is null order by id"
    for row in tx.rows(tables.ip_range, where, zone=zone_id):
        yield unpack_address(row.first), unpack_address(row.last)


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds between two looks at the facts, and before one that died is started again."""

    look_s: float = 5.0
    pause_s: float = 30.0


class NameServer:
    """Follows the facts until it is cancelled."""

    def __init__(self, store: Store, clock: Clock, folder: Path, pace: Pace = Pace()) -> None:
        self._store = store
        self._clock = clock
        self._folder = folder
        self._pace = pace
        self._made: Facts | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._serial = 0

    async def run(self) -> None:
        """Looks again and again; nothing is left behind at the end."""
        try:
            while True:
                with contextlib.suppress(DatabaseAway):
                    await self._look()
                await self._clock.sleep(self._pace.look_s)
        finally:
            await self._end()
            shutil.rmtree(self._folder, ignore_errors=True)

    async def _look(self) -> None:
        wanted = await self._store.read(facts)
        if wanted != self._made:
            await self._change(wanted)
        if wanted.listen is None or not wanted.domains:
            await self._end()
        elif self._process is None:
            await self._start(wanted.listen)
        elif self._process.returncode is not None:
            await self._died(self._process)

    async def _change(self, wanted: Facts) -> None:
        self._serial = max(self._serial + 1, int(self._clock.now()))
        moved = self._made is not None and self._made.listen != wanted.listen
        self._write(wanted)
        self._made = wanted
        if moved:  # a socket is opened at the start only
            await self._end()
        elif self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGHUP)

    def _write(self, wanted: Facts) -> None:
        """All files anew, none of them ever half; what is no more wanted goes."""
        if not wanted.domains:
            shutil.rmtree(self._folder, ignore_errors=True)  # also what a server left that was killed
            return
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o755)
        if os.geteuid() == 0:
            shutil.chown(self._folder, "nobody", "nogroup")
        texts = {f"{domain.name}.records": names.records(domain) for domain in wanted.domains}
        if wanted.listen is not None:
            zones = {f"{one.name}.zone": names.zone_text(one, wanted.listen, self._serial) for one in wanted.domains}
            texts |= {"knot.conf": names.knot_config(wanted.domains, wanted.listen, self._folder), **zones}
        for name, text in texts.items():
            new = self._folder / f".{name}.new"
            new.write_text(text)
            new.chmod(0o644)
            new.replace(self._folder / name)
        for place in self._folder.iterdir():
            if place.suffix in WRITTEN and place.name not in texts:
                place.unlink()

    # ------------------------------------------------------------ the process
    async def _start(self, listen: tuple[str, int]) -> None:
        if not Path(PROGRAM).exists():
            await self._complain("it is not installed: install the package knot, or clear consoleproxy.dns.listen")
            return
        words = ("setpriv", *(AS_NOBODY if os.geteuid() == 0 else ()), "--pdeathsig=TERM", "--", PROGRAM)
        self._process = await asyncio.create_subprocess_exec(
            *words, "-c", str(self._folder / "knot.conf"), stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL, stderr=(self._folder / "log").open("wb"),
        )  # fmt: skip
        log.info("name_server_started", address=listen[0], port=listen[1], pid=self._process.pid)

    async def _died(self, process: asyncio.subprocess.Process) -> None:
        said = (self._folder / "log").read_text(errors="replace").strip()[-LAST_WORDS:]
        await self._complain(f"it ended with {process.returncode}: {said or 'no word'}")
        self._process = None
        await self._clock.sleep(self._pace.pause_s)

    async def _complain(self, why: str) -> None:
        text = f"The name server of console proxies does not run: {why}"
        log.warning("name_server_down", why=why)
        await self._store.run(lambda tx: alerts.raise_alert(tx, AlertType.CONSOLE_PROXY, text))

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            process.terminate()
            await process.wait()
