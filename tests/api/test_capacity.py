"""How much there is and how much is in use, counted in the tables."""

from sysvm.store import tables
from sysvm.store.store import Tx
from tests.api.rows import assert_row_matches_catalogue
from tests.api.stage import Stage

GIB = 1 << 30


def fill(tx: Tx) -> None:
    """One host with a machine, a pool with a volume, ten private addresses of which one is taken, a hundred tags."""
    now, zone_is = {"created": tx.now}, {"zone_id": 1}
    owner = {"account_id": 2, "domain_id": 1, "domain_path": "/1/"}
    tx.insert(tables.zone, uuid="z", name="north", **now)
    tx.insert(tables.pod, uuid="p", name="pod", **zone_is, **now)
    tx.insert(tables.cluster, uuid="c", name="cluster", pod_id=1, hypervisor="KVM", **zone_is, **now)
    place = {"pod_id": 1, "cluster_id": 1, **zone_is}
    tx.insert(tables.host, uuid="h", name="h", state="Up", memory_bytes=8 * GIB, cpus=4, cpu_mhz=2000, **place, **now)
    offering = tx.insert(tables.service_offering, uuid="o", name="o", cpus=1, cpu_mhz=1000, memory_mb=2048, **now)
    tx.insert(tables.machine, uuid="m", name="i-2-1-VM", kind="guest", host_id=1, service_offering_id=offering, **zone_is,
              **owner, **now)  # fmt: skip
    tx.insert(tables.storage_pool, uuid="s", name="s", capacity_bytes=100 * GIB, used_bytes=10 * GIB, **place, **now)
    tx.insert(tables.volume, uuid="v", pool_id=1, size_bytes=25 * GIB, **zone_is, **owner, **now)
    range_id = tx.insert(tables.ip_range, uuid="r", traffic="Management", pod_id=1, first=tables.pack_address("10.0.0.1"),
                         last=tables.pack_address("10.0.0.10"), **zone_is, **now)  # fmt: skip
    tx.insert(tables.private_ip, ip_range_id=range_id, address=tables.pack_address("10.0.0.1"))
    tx.insert(tables.physical_network, uuid="n", name="n", vlan="100-198,300", **zone_is, **now)
    tx.add(tables.session, id="s1", until=tx.now + 5, server_uuid="u1", server_name="one", started=tx.now)


async def test_capacity_counts_what_is_there_and_what_is_promised(stage: Stage):
    """Type: total and used; the whole zone, and a cluster without what only zones have."""
    await stage.store.run(fill)
    rows = {row["name"]: row for row in await stage.admin("listCapacity")}
    for row in rows.values():
        assert_row_matches_catalogue("listCapacity", row)
    assert {name: (row["capacitytotal"], row["capacityused"], row["percentused"]) for name, row in rows.items()} == {
        "MEMORY": (8 * GIB, 2 * GIB, "25.00"), "CPU": (8000, 1000, "12.50"), "CPU_CORE": (4, 1, "25.00"),
        "STORAGE": (100 * GIB, 10 * GIB, "10.00"), "STORAGE_ALLOCATED": (100 * GIB, 25 * GIB, "25.00"),
        "PRIVATE_IP": (10, 1, "10.00"), "VIRTUAL_NETWORK_PUBLIC_IP": (0, 0, "0.00"),
        "SECONDARY_STORAGE": (0, 0, "0.00"), "VLAN": (100, 0, "0.00"),
    }  # fmt: skip
    in_cluster = await stage.admin("listCapacity", clusterid="c")
    assert [row["name"] for row in in_cluster] == ["MEMORY", "CPU", "STORAGE", "STORAGE_ALLOCATED", "CPU_CORE"]
    assert {row["clustername"] for row in in_cluster} == {"cluster"}
    fullest = await stage.admin("listCapacity", sortby="usage", page=1, pagesize=1)
    assert fullest[0]["percentused"] == "25.00"
    (memory,) = await stage.admin("listCapacity", type=0)
    assert memory["name"] == "MEMORY"


async def test_the_whole_is_counted(stage: Stage):
    """And living servers are listed, dead ones not."""
    await stage.store.run(fill)
    whole = await stage.admin("listInfrastructure")
    counted = {name: whole[name] for name in ("zones", "pods", "clusters", "hosts", "storagepools", "managementservers")}
    assert counted == dict.fromkeys(counted, 1)
    (server,) = await stage.admin("listManagementServers")
    assert_row_matches_catalogue("listManagementServers", server)
    stage.clock.advance(6)
    assert await stage.admin("listManagementServers") == []
