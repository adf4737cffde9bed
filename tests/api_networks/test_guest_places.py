"""Guests that administrators put on a host, in a cluster or in a pod; and hosts with the tags of an offering."""

import asyncio
from typing import Any

import pytest
import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries import turns
from sysvm.store.store import Tx
from tests.api.stage import refusal
from tests.api_networks.land import Land
from tests.simulation.client import Client, ground
from tests.simulation.cloud import Cloud
from tests.simulation.loop import run


# ---------------------------------------------------------------- what is refused
async def place(land: Land, where: str) -> dict[str, Any]:
    """Parameters that name it."""
    pod = await land.admin("createPod", zoneid=land.zone, name="empty", gateway="172.17.0.1", netmask="255.255.255.0",
                           startip="172.17.0.10", endip="172.17.0.20")  # fmt: skip
    if where == "empty pod":
        return {"podid": pod["id"]}
    hypervisor = "KVM" if where == "cluster of KVM" else "Simulator"
    (cluster,) = await land.admin("addCluster", zoneid=land.zone, podid=pod["id"], clustername="c2",
                                  clustertype="CloudManaged", hypervisor=hypervisor)  # fmt: skip
    return {"clusterid": cluster["id"]}


REFUSED = (
    ("cluster of KVM", "Cluster c2 has KVM, and the guest needs Simulator"),
    ("empty pod", "Pod empty has no hypervisor, and the guest needs Simulator"),
)


@pytest.mark.parametrize(("where", "text"), REFUSED)
async def test_places_where_a_guest_can_never_run_are_refused(land: Land, where: str, text: str):
    there = await place(land, where)
    with refusal(431, text):
        await land.deploy(**there)
    guest = await land.deploy()
    with refusal(431, text):
        await land.admin("startVirtualMachine", id=guest["id"], **there)


@pytest.mark.parametrize("name", ["hostid", "clusterid", "podid"])
async def test_users_do_not_choose_places(land: Land, name: str):
    user = await land.stage.user("one")
    there = {"hostid": land.cloud.host["id"], "clusterid": land.cloud.cluster["id"], "podid": land.cloud.pod["id"]}
    with refusal(531, f"Parameter {name} can be passed by root administrators only"):
        await land.deploy(user, **{name: there[name]})


async def test_a_guest_does_not_start_where_its_volumes_are_not(land: Land):
    guest, there = await land.deploy(), await place(land, "cluster")
    (volume,) = await land.admin("listVolumes", virtualmachineid=guest["id"])
    (host,) = await land.rows(sa.select(tables.host))
    await land.cloud.change(tables.volume, volume["id"], host_id=host.id)
    with refusal(431, f"is on host {host.name}, so it can't start elsewhere; move its volumes first, with migrateVolume"):
        await land.admin("startVirtualMachine", id=guest["id"], **there)
    await land.admin("startVirtualMachine", id=guest["id"], clusterid=land.cloud.cluster["id"])


# ---------------------------------------------------------------- where they come to run
def test_guests_run_in_the_cluster_or_pod_or_on_tagged_hosts_as_they_were_told():
    """Two pods: the first has two clusters, the second has one."""
    cloud = Cloud()

    async def main() -> None:
        async with cloud.server():
            zone = await cloud.zone(hosts=2, guests_only=True)
            await cloud.store.run(lambda tx: (ground(tx, cloud, zone), more(tx, cloud, zone)))
            up = sa.select(sa.func.count()).select_from(tables.host).where(tables.host.c.state == "Up")
            await cloud.until(lambda tx: tx.value(up) == 4)
            await asyncio.wait_for(story(cloud), 3600)

    run(cloud.clock, main())


def more(tx: Tx, cloud: Cloud, zone: int) -> None:
    """Another cluster of the first pod, with one host; and another pod, with one, which is tagged."""
    (first,) = tx.rows(tables.pod, "zone_id = :zone", zone=zone)
    columns = first._asdict() | {"uuid": cloud.ids.uuid(), "name": "far"}
    far = tx.insert(tables.pod, **{name: value for name, value in columns.items() if name != "id"})
    for number, (name, pod, tags) in enumerate((("c2", first.id, ""), ("far", far, "ssd,new"))):
        cluster = tx.insert(tables.cluster, uuid=cloud.ids.uuid(), zone_id=zone, pod_id=pod, name=name, hypervisor="Simulator",
                            created=tx.now)  # fmt: skip
        host = tx.insert(tables.host, uuid=cloud.ids.uuid(), name=f"host-{name}", zone_id=zone, pod_id=pod, cluster_id=cluster,
                         hypervisor="Simulator", address=f"10.9.211.{number + 1}", state="Connecting", tags=tags,
                         created=tx.now)  # fmt: skip
        turns.wish(tx, "host", host, host=host)


async def story(cloud: Cloud) -> None:
    client = Client(cloud)
    pods = {row["name"]: row["id"] for row in await client.ask("listPods")}
    clusters = {row["name"]: row["id"] for row in await client.ask("listClusters")}
    hosts = {row["name"]: row["id"] for row in await client.ask("listHosts", type="Routing")}
    given = await needs(client)

    async def where(**params: Any) -> str:
        made = await client.job("deployVirtualMachine", **given, **params)
        return str(made["hostname"])

    assert ["host-c2"] * 3 == [await where(clusterid=clusters["c2"]) for _ in range(3)]
    assert "host-far" == await where(podid=pods["far"])
    assert {"h0", "h1", "host-c2"} >= {await where(podid=pods["pod"]) for _ in range(4)}
    # The narrowest counts, whatever the wider ones say.
    assert "h1" == await where(hostid=hosts["h1"], clusterid=clusters["c2"], podid=pods["far"])
    assert "host-c2" == await where(clusterid=clusters["c2"], podid=pods["far"])
    await tagged(client, given, where)
    await with_storage(cloud, where)
    await later_starts(client, given, clusters, hosts)


async def needs(client: Client) -> dict[str, Any]:
    """What deployVirtualMachine needs."""
    zone = await client.one("listZones")
    offering = await client.ask("createServiceOffering", name="g", displaytext="g", cpunumber=1, cpuspeed=500, memory=128)
    networks = await client.one("listNetworkOfferings", name="DefaultIsolatedNetworkOfferingWithSourceNatService")
    network = await client.ask("createNetwork", zoneid=zone["id"], name="n", displaytext="n", networkofferingid=networks["id"])
    return {"zoneid": zone["id"], "serviceofferingid": offering["id"], "networkids": network["id"],
            "templateid": "5b0f2f3c-0000-4000-8000-000000000001"}  # fmt: skip


async def tagged(client: Client, given: dict[str, Any], where: Any) -> None:
    """All tags of an offering are on the host, or the guest waits and says why."""
    size = {"cpunumber": 1, "cpuspeed": 500, "memory": 128}
    fast = await client.ask("createServiceOffering", name="f", displaytext="f", hosttags="ssd", **size)
    given["serviceofferingid"], small = fast["id"], given["serviceofferingid"]
    assert ["host-far"] * 2 == [await where() for _ in range(2)]
    none = await client.ask("createServiceOffering", name="x", displaytext="x", hosttags="gpu,ssd", **size)
    given["serviceofferingid"] = none["id"]
    waiting = await client.ask("deployVirtualMachine", **given)
    note = "no host that could run it has the tags of its offering: gpu, ssd"
    await client.cloud.until(lambda tx: tx.rows(tables.machine, "uuid = :uuid and note = :note", uuid=waiting["id"], note=note))
    given["serviceofferingid"] = small


async def with_storage(cloud: Cloud, where: Any) -> None:
    """While one cluster alone has primary storage new guests go there."""

    def write(tx: Tx, name: str) -> None:
        found = tx.rows(tables.cluster, "name = :name", name=name)
        tx.change(sa.update(tables.storage_pool).values(cluster_id=found[0].id if found else None))

    await cloud.store.run(lambda tx: write(tx, "far"))
    assert ["host-far"] * 3 == [await where() for _ in range(3)]
    await cloud.store.run(lambda tx: write(tx, ""))


async def later_starts(client: Client, given: dict[str, Any], clusters: dict[str, str], hosts: dict[str, str]) -> None:
    """A place is said for one start: the next one may be anywhere, but for volumes that were made."""
    cluster = await client.job("deployVirtualMachine", clusterid=clusters["c2"], **given)
    (row,) = await client.cloud.store.read(lambda tx: tx.rows(tables.machine, "uuid = :uuid", uuid=cluster["id"]))
    assert (None, None, None) == (row.wanted_host_id, row.wanted_cluster_id, row.wanted_pod_id)
    await client.job("stopVirtualMachine", id=cluster["id"])
    with refusal(431, "so it can't start elsewhere"):
        await client.ask("startVirtualMachine", id=cluster["id"], hostid=hosts["h0"])
    again = await client.job("startVirtualMachine", id=cluster["id"])
    assert "host-c2" == again["hostname"]
