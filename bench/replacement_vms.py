"""router.replace_vm_*: as in replacement.py, with routers in VMs: the connections of one kernel are carried into another.

Nothing goes through the load balancer here: connections that end in the router itself are not carried. On a machine without
KVM both routers are emulated, and nobody is heard for as long as an emulated processor needs to tell what has changed.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.replacement import rows, taken
from bench.rows import Row
from tests.boot.traffic import forward, visiting
from tests.boot.world import World

NAMES = (
    "router.replace_vm_lost_pings",
    "router.replace_vm_streams_lost",
    "router.replace_vm_dns_dark_ms",
    "router.replace_vm_s",
)
NEEDS = ("root", "ip", "nft", "qemu-system-x86_64", "ping")


def run(*, tiny: bool) -> Iterator[Row]:
    """All rows, of the worst of the replacements."""
    with tempfile.TemporaryDirectory(prefix="sysvm-bench-") as above:
        world = World(Path(above).resolve() / "demo")
        try:
            world.up("--runtime", "vm")
            world.until(world.all_run, "everything runs")
            doors = {"forwarded": forward(world, 8181, 80)}
            with visiting(world) as visitor:
                found = [taken(world, visitor, doors) for _ in range(1 if tiny else 2)]
            yield from rows(found, NAMES, "a VM")
        finally:
            world.down()
