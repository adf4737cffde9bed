"""router.replace_*: a router is replaced by rebootRouter under traffic, in a real demo with containers; what its guests lose.

Streams: one in which only the server speaks, about 200 that are born while it happens, one through a port forward that
rewrites the port, one through the load balancer. Pings go at ten a second. The demo is the one of `make demo`, in a
folder of its own.
"""

import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.rows import Row, row
from tests.boot.traffic import Seen, Visitor, balance, forward, replaced, visiting
from tests.boot.world import World

NAMES = (
    "router.replace_lost_pings",
    "router.replace_streams_lost",
    "router.replace_dns_dark_ms",
    "router.replace_s",
)
NEEDS = ("root", "ip", "nft", "lxc-start", "ping")


def run(*, tiny: bool) -> Iterator[Row]:
    """All rows, of the worst of the replacements."""
    with tempfile.TemporaryDirectory(prefix="sysvm-bench-") as above:
        world = World(Path(above).resolve() / "demo")
        try:
            world.up("--runtime", "container")
            world.until(world.all_run, "everything runs")
            doors = {"forwarded": forward(world, 8181, 80), "balanced": balance(world, 8182, 80)}
            with visiting(world) as visitor:
                found = [taken(world, visitor, doors) for _ in range(1 if tiny else 5)]
            yield from rows(found, NAMES, "a container")
        finally:
            world.down()


def taken(world: World, visitor: Visitor, doors: dict[str, tuple[str, int]]) -> tuple[Seen, float]:
    """What was noticed of one replacement, and how long its job took."""
    router = world.uuid("router")
    took = [0.0]

    def replace() -> None:
        began = time.perf_counter()
        world.client.job("rebootRouter", id=router)
        took[0] = time.perf_counter() - began

    seen = replaced(world, visitor, doors, replace)
    return seen, took[0]


def rows(found: list[tuple[Seen, float]], names: tuple[str, ...], of: str, command: str = "rebootRouter") -> Iterator[Row]:
    """One for each of the names: pings lost, streams lost, how long nobody answered names, how long the jobs took."""
    pings_name, streams_name, dark_name, took_name = names
    seen = [one for one, _ in found]
    times = f"{len(found)} replacements of {of} under traffic"
    lost = sum(len(one.lost) for one in seen)
    pings = f"the worst of {times}; {sum(one.pings for one in seen)} pings at 10/s in all"
    streams = f"all of {times}; {sum(one.streams for one in seen)} streams"
    silence = max(one.silence_s for one in seen)
    yield row(pings_name, max(one.pings_lost for one in seen), "pings", note=pings)
    yield row(streams_name, lost, "streams", note=f"{streams}; longest silence of a stream {silence:.3f} s")
    dark = max(one.unnamed_s for one in seen) * 1e3
    asking = f"longest without an answer, where a lost question is asked again after 0.5 s; the worst of {times}"
    yield row(dark_name, dark, "ms", note=asking)
    yield row(took_name, statistics.median(took for _, took in found), "s", note=f"{command}; {times}")
