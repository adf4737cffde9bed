"""sim.routers_per_s: routers brought to Running on simulated hosts, by the whole server but HTTP and TLS, in one process.

The clock is virtual, so nobody ever waits: what is counted is work. Each router is a network's, from AddRouter over
placing, creating, starting, the agent's hello and its document to the network's Implemented.
"""

import functools
import time
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from bench.rows import Row, row
from sysvm.basics import collector
from sysvm.basics.clock import VirtualClock
from sysvm.basics.ids import SeededIds
from sysvm.basics.tasks import Tasks
from sysvm.cli.simulated import Earth, SimulatedHosts
from sysvm.hub.links import Links
from sysvm.orchestrator.context import Context
from sysvm.orchestrator.engine import Engine
from sysvm.orchestrator.notices import Notices
from sysvm.orchestrator.turns import KINDS
from sysvm.store import seed, tables
from sysvm.store.queries import addresses, keys, turns
from sysvm.store.secrets import Vault
from sysvm.store.store import SqliteStore, Tx
from sysvm.store.tables import pack_address
from tests.simulation.loop import run as run_virtually

NAMES = ("sim.routers_per_s",)
NEEDS = ()
OWNER = {"account_id": 2, "domain_id": 1, "domain_path": "/1/"}
SERVICES = ("Dhcp", "Dns", "UserData", "SourceNat", "StaticNat", "PortForwarding", "Firewall")


def run(*, tiny: bool) -> Iterator[Row]:
    """The only row."""
    hosts, routers = (10, 20) if tiny else (1000, 2000)
    clock = VirtualClock()
    spent = run_virtually(clock, _measure(clock, hosts, routers))
    note = f"{routers} routers on {hosts} hosts, {spent / routers * 1e3:.2f} ms of CPU each; SQLite in memory; "
    note += "a router is 5 turns and some 90 statements, which are 40 % of that CPU; the rest is Python's"
    yield row("sim.routers_per_s", routers / spent, "routers/s", better="higher", note=note)


async def _measure(clock: VirtualClock, hosts: int, routers: int) -> float:
    """Seconds of CPU from the wish to the last router's Running."""
    store = SqliteStore(None, clock, inline=True)
    with store.engine.connect() as connection:
        tables.metadata.create_all(connection)
    ids, vault = SeededIds(1), Vault(b"k" * 32)
    await store.run(functools.partial(seed.sow, ids=ids, vault=vault, version="bench", admin_password_hash=seed.LOCKED))
    session = ids.uuid()
    await store.run(lambda tx: turns.open_session(tx, session, "server", "server", "", "bench"))
    made = await store.run(lambda tx: keys.ensure_keys(tx, vault, ids))
    context = Context(store, clock, ids, Links(), made, session)
    zone = await store.run(lambda tx: _zone(tx, ids, hosts, routers))
    collector.settle()  # as a server does that has started: no host has come yet
    async with Tasks() as tasks:
        notices, earth = Notices(context), Earth(clock, tasks)
        tasks.start(earth.world.run(), "world")
        await SimulatedHosts(context, notices, tasks, earth).run()
        tasks.start(Engine(context, KINDS, seed=1).run(), "engine")
        await _until(context, "select count(*) from host where document_live <> ''", hosts)
        await store.run(lambda tx: _networks(tx, ids, zone, routers))
        began = time.process_time()
        await _until(context, "select count(*) from network where state = 'Implemented'", routers)
        spent = time.process_time() - began
        tasks.stop()
    return spent


async def _until(context: Context, count: str, wanted: int) -> None:
    while True:
        ((got,),) = await context.store.read(lambda tx: tx.sql(count))
        if got >= wanted:
            return
        await context.clock.sleep(0.1)


# ---------------------------------------------------------------- the cloud
def _zone(tx: Tx, ids: SeededIds, hosts: int, routers: int) -> int:
    life: dict[str, Any] = {"created": tx.now}
    off = {"enable.consoleproxy.vm": "false", "enable.secstorage.vm": "false"}
    zone = tx.insert(tables.zone, uuid=ids.uuid(), name="zone", allocation_state="Enabled", dns1="192.0.2.53",
                     details=off, **life)  # fmt: skip
    pod = tx.insert(tables.pod, uuid=ids.uuid(), zone_id=zone, name="pod", gateway="10.9.0.1",
                    netmask="255.255.0.0", **life)  # fmt: skip
    cluster = tx.insert(tables.cluster, uuid=ids.uuid(), zone_id=zone, pod_id=pod, name="c", hypervisor="Simulator",
                        **life)  # fmt: skip
    last = f"172.16.{(routers + 100) // 250 + 1}.250"
    public = tx.insert(tables.ip_range, uuid=ids.uuid(), zone_id=zone, traffic="Public", gateway="172.16.0.1",
                       netmask="255.240.0.0", first=pack_address("172.16.0.10"), last=pack_address(last),
                       **life)  # fmt: skip
    addresses.fill_public_range(tx, public)
    for number in range(hosts):
        host = tx.insert(tables.host, uuid=ids.uuid(), name=f"h{number}", zone_id=zone, pod_id=pod, cluster_id=cluster,
                         hypervisor="Simulator", address=f"10.9.{100 + number // 250}.{number % 250 + 1}",
                         state="Connecting", **life)  # fmt: skip
        turns.wish(tx, "host", host, host=host)
    return zone


def _networks(tx: Tx, ids: SeededIds, zone: int, count: int) -> None:
    """Networks that have a router even without guests."""
    provided = {service: {"provider": "VirtualRouter"} for service in SERVICES}
    offering = tx.insert(tables.network_offering, uuid=ids.uuid(), name="bench", state="Enabled", is_persistent=True,
                         services=provided, created=tx.now)  # fmt: skip
    table = tables.network
    common = {"zone_id": zone, "offering_id": offering, "cidr": "10.1.1.0/24", "gateway": "10.1.1.1",
              "created": tx.now, **OWNER}  # fmt: skip
    tx.connection.execute(sa.insert(table), [{"uuid": ids.uuid(), "name": f"n{number}", **common} for number in range(count)])
    for row_ in tx.all(sa.select(table.c.id).order_by(table.c.id)):
        turns.wish(tx, "network", row_.id)
