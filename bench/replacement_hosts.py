"""router.move_*: as in replacement.py, with a router that goes to another host and back: two host agents, VXLAN between them.

Nothing goes through the load balancer here: connections that end in the router itself are not carried. Whoever sends is on the
first host all the time, so that one way is from bridge to VXLAN and the other one back.
"""

import time
from collections.abc import Iterator

from bench.replacement import rows
from bench.rows import Row
from tests.boot.test_routers_move import moves, two_hosts_with_a_router
from tests.boot.traffic import Seen, forward, replaced, visiting

NAMES = (
    "router.move_lost_pings",
    "router.move_streams_lost",
    "router.move_dns_dark_ms",
    "router.move_s",
)
NEEDS = ("root", "ip", "nft", "lxc-start", "ping")


def run(*, tiny: bool) -> Iterator[Row]:
    """All rows, of the worst of the moves."""
    found: list[tuple[Seen, float]] = []
    with two_hosts_with_a_router("--runtime", "container") as (world, _):
        doors = {"forwarded": forward(world, 8181, 80)}
        with visiting(world) as visitor:
            for _ in range(1 if tiny else 4):
                took: list[float] = []

                def move(took: list[float] = took) -> None:
                    began = time.perf_counter()
                    moves(world)
                    took.append(time.perf_counter() - began)

                seen = replaced(world, visitor, doors, move)
                found.append((seen, took[0]))
    yield from rows(found, NAMES, "a container by one on another host", "migrateSystemVm")
