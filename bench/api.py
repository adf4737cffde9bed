"""api.cpu_us_per_list: what bench/api_list.py measures, as a row."""

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench import api_list
from bench.measure import alternating
from bench.rows import Row, row

NAMES = ("api.cpu_us_per_list",)
NEEDS = ()


def run(*, tiny: bool) -> Iterator[Row]:
    """The only row: medians of servers that are started in turn."""
    if tiny:
        api_list.REQUESTS = 20
    with tempfile.TemporaryDirectory(prefix="sysvm-bench-") as folder:
        path = Path(folder) / "state.db"
        asyncio.run(api_list._prepare(path))

        def one(kind: str) -> float:
            cpu, rows = api_list.measure(kind, path)
            assert rows == api_list.ROUTERS
            return cpu

        own, bare = alternating(1 if tiny else 3, lambda: one("sysvm"), lambda: one("bare"))
    note = f"signed listRouters of {api_list.ROUTERS} rows; CPU of the serving process"
    against = ("bare ASGI handler: the same signature, the same rows of SQLite as JSON", bare)
    yield row(NAMES[0], own, "us", against=against, note=note)
