"""engine.turns_per_s: turns claimed, planned and released by the real engine, on SQLite and on PostgreSQL.

5,000 turns are held by another live session all the while; 20,000 are ours to do. The work of a turn is one pure plan; what
is measured is what every turn pays: its share of a claim, its task, its release in a transaction of its own.

The peer does the same statements (claims of 32, a release each) on the bare driver, without tasks and threads.
"""

import asyncio
import contextlib
import functools
import re
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import uvloop

from bench import postgres
from bench.groups import Missing
from bench.rows import Row, failed, row
from sysvm.basics.clock import SystemClock
from sysvm.basics.ids import SystemIds
from sysvm.hub.links import Links
from sysvm.orchestrator.context import Context
from sysvm.orchestrator.engine import Engine, Kind, Outcome, Result
from sysvm.store import schema, seed
from sysvm.store.queries import keys, turns
from sysvm.store.queries.turns import Turn
from sysvm.store.secrets import Vault
from sysvm.store.store import PostgresStore, SqliteStore, Store, Tx
from sysvm.systemvms.machine import MachineWanted, PlacementSeen, Served, plan_machine
from sysvm.wire.machines import Kind as MachineKind
from sysvm.wire.machines import Power

NAMES = ("engine.turns_per_s.sqlite", "engine.turns_per_s.postgresql")
NEEDS = ()
OURS, OTHERS = "ours", "another"
ADD = """
insert into turn (kind, id, due, session, fence, tries, wish, stir, host) values ('bench', :id, 0, :session, 0, 0, 1, 0, null)
"""


@dataclass(frozen=True, slots=True)
class Size:
    """How much."""

    turns: int
    in_flight: int


class Done(Exception):
    """All turns are released."""


def run(*, tiny: bool) -> Iterator[Row]:
    """Both databases."""
    size = Size(200, 50) if tiny else Size(20_000, 5_000)
    with tempfile.TemporaryDirectory(prefix="sysvm-bench-") as folder:
        rate, ms = uvloop.run(_sqlite(Path(folder), size))
        bare = _bare_sqlite(Path(folder) / "bare.db", size)
        note = f"{size.turns} turns, {size.in_flight} in flight, {ms:.2f} ms of CPU a turn; by CPU"
        yield row(NAMES[0], rate, "turns/s", better="higher", against=("same statements, bare sqlite3", bare), note=note)
    try:
        yield _on_postgres(size)
    except Missing as missing:
        yield failed(NAMES[1], str(missing))


async def _sqlite(folder: Path, size: Size) -> tuple[float, float]:
    """(turns per second of CPU, milliseconds of CPU a turn)."""
    store = SqliteStore(folder / "ours.db", SystemClock())
    await schema.ensure(store)
    spent, _ = await _all_turns(store, size)
    await store.close()
    return size.turns / spent, spent / size.turns * 1e3


def _on_postgres(size: Size) -> Row:
    with postgres.running() as (url, pid):
        before = postgres.family_cpu_s(pid)
        rate, ms = uvloop.run(_postgres(url, size))
        theirs = (postgres.family_cpu_s(pid) - before) / size.turns * 1e3
        bare = _bare_postgres(url, size)
    note = f"{size.turns} turns, {size.in_flight} in flight, 8 connections; CPU a turn: {ms:.2f} ms ours, "
    note += f"{theirs:.2f} ms PostgreSQL's with filling; by wall clock"
    return row(NAMES[1], rate, "turns/s", better="higher", against=("same statements, bare psycopg", bare), note=note)


async def _postgres(url: str, size: Size) -> tuple[float, float]:
    """(turns per second, milliseconds of our CPU a turn)."""
    store = PostgresStore(url, SystemClock())
    await schema.ensure(store)
    spent, wall = await _all_turns(store, size)
    await store.close()
    return size.turns / wall, spent / size.turns * 1e3


async def _all_turns(store: Store, size: Size) -> tuple[float, float]:
    """Seconds of CPU of this process, and seconds, until every turn has been released."""
    ids, vault = SystemIds(), Vault(b"k" * 32)
    await store.run(functools.partial(seed.sow, ids=ids, vault=vault, version="bench", admin_password_hash=seed.LOCKED))
    made = await store.run(lambda tx: keys.ensure_keys(tx, vault, ids))
    await store.run(lambda tx: _fill(tx, size))
    context = Context(store, SystemClock(), ids, Links(), made, OURS)
    left = size.turns
    finished = asyncio.Event()

    async def work(_context: Context, _turn: Turn) -> Outcome:
        nonlocal left
        assert plan_machine(WANTED, PLACED) == Served("running")
        left -= 1
        if left == 0:
            finished.set()
        return Result(600.0)

    engine = Engine(context, {"bench": Kind(work, lambda tx, id_, why: None)})
    cpu, began = time.process_time(), time.perf_counter()
    running = asyncio.ensure_future(engine.run())
    ended = asyncio.ensure_future(finished.wait())
    await asyncio.wait((running, ended), return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        running.result()  # why it has ended
    while await store.read(_held):
        await context.clock.sleep(0.01)
    spent = (time.process_time() - cpu, time.perf_counter() - began)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    return spent


WANTED = MachineWanted(MachineKind.ROUTER, "running", 1, wish=1)
PLACED = (PlacementSeen(1, 1, 1, False, "running", Power.RUNNING, told=1, settled=1),)


def _fill(tx: Tx, size: Size) -> None:
    for session in (OURS, OTHERS):
        turns.open_session(tx, session, session, session, "", "bench")
    tx.sql("update session set until = :until", until=tx.now + 3600)
    for number in range(size.turns + size.in_flight):
        tx.sql(ADD, id=number, session=None if number < size.turns else OTHERS)


def _held(tx: Tx) -> int:
    return int(tx.sql("select count(*) from turn where session = :session", session=OURS)[0][0])


# ---------------------------------------------------------------- peers
def _bare_sqlite(path: Path, size: Size) -> float:
    """Turns per second of CPU of the same claims and releases in a row, on a database with the same tables."""
    store = SqliteStore(path, SystemClock(), inline=True)
    schema.upgrade(store)
    asyncio.run(store.run(lambda tx: _fill(tx, size)))
    asyncio.run(store.close())
    bare = sqlite3.connect(path, isolation_level=None, cached_statements=64)
    bare.execute("pragma synchronous=normal")
    claim = turns.CLAIM.replace("{lock}", "")
    began = time.process_time()
    for _ in range(-(-size.turns // turns.CLAIM_BATCH)):
        now = time.time()
        bare.execute("begin immediate")
        claimed = bare.execute(claim, {"session": OURS, "now": now, "batch": turns.CLAIM_BATCH}).fetchall()
        bare.execute("commit")
        for kind, id_, fence, _, wish, stir in claimed:
            bare.execute("begin immediate")
            params = {"session": OURS, "tries": 0, "wish": wish, "stir": stir, "due": now + 600}
            bare.execute(turns.RELEASE, {**params, "kind": kind, "id": id_, "fence": fence}).fetchall()
            bare.execute("commit")
    spent = time.process_time() - began
    bare.close()
    return size.turns / spent


def _bare_postgres(url: str, size: Size) -> float:
    """Turns per second of the same on one connection."""
    with psycopg.connect(url) as bare:
        bare.execute("update turn set session = null, due = 0 where session is null or session = 'ours'")
        # Nobody beats for it any more, and a session that is over claims nothing.
        bare.execute("update session set until = until + 3600")
        bare.commit()
        claim, release = (_percent(text.replace("{lock}", "for update skip locked")) for text in STATEMENTS)
        began, done = time.perf_counter(), 0
        while done < size.turns:
            now = time.time()
            params = {"session": OURS, "now": now, "batch": turns.CLAIM_BATCH}
            claimed = bare.execute(claim, params).fetchall()
            bare.commit()
            for kind, id_, fence, _, wish, stir in claimed:
                values = {"session": OURS, "tries": 0, "wish": wish, "stir": stir, "due": now + 600}
                bare.execute(release, {**values, "kind": kind, "id": id_, "fence": fence})
                bare.commit()
            done += len(claimed)
            assert claimed, "the peer ran out of turns"
        return size.turns / (time.perf_counter() - began)


STATEMENTS = (turns.CLAIM, turns.RELEASE)


def _percent(text: str) -> str:
    """`:name` parameters as psycopg wants them."""
    return re.sub(r":(\w+)", r"%(\1)s", text)
