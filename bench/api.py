"""api.cpu_us_per_list: what bench/api_list.py measures, as a row."""

from collections.abc import Iterator

from bench import api_list
from bench.rows import Row, row

NAMES = ("api.cpu_us_per_list",)
NEEDS = ()


def run(*, tiny: bool) -> Iterator[Row]:
    """The only row."""
    own, bare = api_list.measure(2 if tiny else api_list.BLOCKS)
    note = f"signed listRouters of {api_list.ROUTERS} rows; CPU of the serving process, which takes turns with the bare one"
    against = ("bare ASGI handler: the same signature, the same rows of SQLite as JSON", bare)
    yield row(NAMES[0], own, "us", against=against, note=note)
