"""Hosts: first contact, lists, maintenance, removal."""

import json
import re
from typing import Any

import pytest
import sqlalchemy as sa

from sysvm.basics.ids import SeededIds
from sysvm.store import tables
from sysvm.store.queries import keys, links
from sysvm.store.store import Tx
from tests.api.rows import assert_row_matches_catalogue
from tests.api.stage import Stage, refusal
from tests.api_infrastructure.cloud import POD, Cloud, make_physical_network, make_zone

LINE = re.compile(r"sysvm agent join --server (\S+) --token (\S+)@([0-9a-f]{64})")


async def real_host(stage: Stage, **params: Any) -> dict[str, Any]:
    """A KVM host in a zone of its own."""
    await stage.store.run(lambda tx: keys.ensure_keys(tx, stage.vault, SeededIds(7)))
    zone = await make_zone(stage, "real")
    await make_physical_network(stage.admin, zone["id"])
    pod = await stage.admin(
        "createPod", zoneid=zone["id"], name="pod", **{**POD, "startip": "172.16.0.60", "endip": "172.16.0.70"}
    )
    given = {
        "zoneid": zone["id"],
        "podid": pod["id"],
        "clustername": "kvm",
        "hypervisor": "KVM",
        "url": "http://10.0.0.5",
    }
    (host,) = await stage.admin("addHost", **{**given, **params})
    return host


async def rows(stage: Stage, table: sa.Table) -> Any:
    return await stage.store.read(lambda tx: tx.all(sa.select(table)))


async def test_add_host_answers_with_the_line_that_makes_it_connect(stage: Stage):
    """The token in it is redeemed once, and is nowhere in the database in clear."""
    host = await real_host(stage)
    match = LINE.fullmatch(host["details"]["join"])
    assert match is not None, host["details"]
    assert_row_matches_catalogue("addHost", host)
    token, fingerprint = match[2], match[3]
    known = await stage.store.run(lambda tx: keys.ensure_keys(tx, stage.vault, SeededIds(7)))
    assert known.authority.fingerprint == fingerprint
    (kept,) = await rows(stage, tables.host_token)
    assert token not in str(kept)
    redeemed = await stage.store.run(lambda tx: links.redeem_token(tx, token))
    assert redeemed is not None and host["id"] == redeemed.uuid
    (listed,) = await stage.admin("listHosts", id=host["id"])
    assert "join" not in listed.get("details", {})


async def test_a_token_is_worth_nothing_after_an_hour(stage: Stage):
    """And reconnectHost gives a new one, after which the old one is worth nothing either."""
    host = await real_host(stage)
    old = LINE.fullmatch(host["details"]["join"])[2]
    again = await stage.admin.job("reconnectHost", id=host["id"])
    new = LINE.fullmatch(again["details"]["join"])[2]
    stage.clock.advance(1)
    with pytest.raises(Exception, match="expired"):
        await stage.store.run(lambda tx: links.redeem_token(tx, old))
    stage.clock.advance(3600)
    with pytest.raises(Exception, match="expired"):
        await stage.store.run(lambda tx: links.redeem_token(tx, new))


async def test_with_a_password_the_server_installs_the_agent(stage: Stage):
    """A task says what is to be done; its secrets are sealed."""
    host = await real_host(stage, username="root", password="hush hush")
    (task,) = await rows(stage, tables.task)
    body = json.loads(task.body)
    assert ("install-host", host["id"], "10.0.0.5", 22, "root") == (
        task.kind, body["host"], body["address"], body["port"], body["username"]
    )  # fmt: skip
    assert "hush hush" not in task.body
    assert "hush hush" == stage.vault.open(body["password"])
    assert LINE.fullmatch(stage.vault.open(body["join"]))
    turn = tables.turn
    due = await stage.store.read(lambda tx: tx.all(sa.select(turn.c.id).where(turn.c.kind == "task")))
    assert [task.id] == [row.id for row in due]


async def test_a_cluster_name_makes_the_cluster(stage: Stage):
    """As CloudStack does, when the pod has none of that name."""
    host = await real_host(stage)
    (cluster,) = await stage.admin("listClusters")
    assert ("kvm", "KVM", host["clusterid"]) == (cluster["name"], cluster["hypervisortype"], cluster["id"])


async def test_a_simulated_host_needs_no_token(cloud: Cloud):
    """It connects by itself: its row waits, its turn is due."""
    assert "join" not in cloud.host.get("details", {})
    assert "Connecting" == cloud.host["state"]
    assert [] == await rows(cloud.stage, tables.host_token)


async def test_what_a_host_reports_is_listed(cloud: Cloud):
    """Capacity, features and what is promised to machines."""
    facts = {
        "name": "host1",
        "features": ["esp", "vlan"],
        "hypervisors": ["Simulator"],
        "kernel": "6.1.0",
        "disk_bytes": 10**12,
    }
    await cloud.change(
        tables.host, cloud.host["id"], facts=facts, cpus=8, cpu_mhz=2000, memory_bytes=16 << 30, state="Up", why=""
    )
    await cloud.machine(host=cloud.host["id"], wanted="running")
    (host,) = await cloud.admin("listHosts", type="Routing", state="Up")
    assert_row_matches_catalogue("listHosts", host)
    assert (8, 2000, 16 << 30, 500, 512 << 20) == tuple(
        host[name] for name in ("cpunumber", "cpuspeed", "memorytotal", "cpuallocatedvalue", "memoryallocatedbytes")
    )
    assert "esp,vlan" == host["details"]["features"]
    (pool,) = await cloud.admin("listStoragePools")
    assert 0 == pool["disksizetotal"], "a simulated pool has no host"


async def test_system_vms_whose_agent_is_up_are_hosts_too(cloud: Cloud):
    """Clients look for them by type and by the VM's name."""
    proxy = await cloud.machine("consoleproxy", agent_up=True)
    await cloud.machine("secstorage", agent_up=True)
    await cloud.machine("secstorage", agent_up=False)
    await cloud.machine("router", agent_up=True)
    shown = await cloud.admin("listHosts")
    assert ["ConsoleProxy", "Routing", "SecondaryStorageVM"] == sorted(row["type"] for row in shown)
    for row in shown:
        assert_row_matches_catalogue("listHosts", row)
    (found,) = await cloud.admin("listHosts", type="ConsoleProxy", name="consoleproxy-1-VM", zoneid=cloud.zone["id"])
    by_id = await cloud.admin("listHosts", id=found["id"])
    assert [found] == by_id
    assert proxy


@pytest.mark.parametrize(
    ("page", "names"),
    [(1, ["host1", "host2"]), (2, ["host3", "consoleproxy-1-VM"]), (3, ["secstorage-1-VM"]), (4, [])],
)
async def test_pages_run_over_hosts_and_system_vms(cloud: Cloud, page: int, names: list[str]):
    """Every row once, and the count is that of all."""
    await cloud.add_host("host2")
    await cloud.add_host("host3")
    await cloud.machine("consoleproxy", agent_up=True)
    await cloud.machine("secstorage", agent_up=True)
    answer = (await cloud.admin.ask("listHosts", page=page, pagesize=2)).json["listhostsresponse"]
    assert names == [row["name"] for row in answer.get("host", [])]
    assert 5 == answer.get("count", 5)


async def test_a_host_with_machines_is_removed_only_by_force(cloud: Cloud):
    """The operator's word is the evidence by which its machines may live elsewhere."""
    id_ = await cloud.machine("router", host=cloud.host["id"], power="running", agent_up=True)
    with refusal(536, "has 1 machines on it (router-1-VM)"):
        await cloud.admin("deleteHost", id=cloud.host["id"])
    await cloud.admin("deleteHost", id=cloud.host["id"], forced=True)
    machine = await cloud.stage.store.read(lambda tx: tx.get(tables.machine, id_))
    assert (None, "absent", False, "running") == (machine.host_id, machine.power, machine.agent_up, machine.wanted)
    assert [id_] == await cloud.turns("machine")
    assert [] == await cloud.admin("listHosts")


async def test_a_removed_host_can_be_added_again_and_its_certificate_is_worthless(stage: Stage):
    """Nothing of its first life counts."""
    host = await real_host(stage)

    def certify(tx: Tx) -> None:
        links.add_certificate(tx, 1, "0a", "f" * 64, tx.now + 86400)

    await stage.store.run(certify)
    await stage.admin("deleteHost", id=host["id"])
    (certificate,) = await rows(stage, tables.host_certificate)
    (token,) = await rows(stage, tables.host_token)
    assert certificate.revoked is not None
    assert token.until <= stage.clock.now()
    (again,) = await stage.admin(
        "addHost",
        zoneid=host["zoneid"],
        podid=host["podid"],
        clusterid=host["clusterid"],
        hypervisor="KVM",
        url="10.0.0.5",
    )
    assert again["id"] != host["id"]


async def test_local_storage_dies_with_its_host_only_when_said(stage: Stage):
    """Volumes are not lost by mistake."""
    cloud = await Cloud.build(stage, "KVM")
    machine = await cloud.machine(host=cloud.host["id"], pool=cloud.pool["id"], wanted="running")
    with refusal(536, "forcedestroylocalstorage"):
        await cloud.admin("deleteHost", id=cloud.host["id"], forced=True)
    await cloud.admin("deleteHost", id=cloud.host["id"], forced=True, forcedestroylocalstorage=True)
    row = await stage.store.read(lambda tx: tx.get(tables.machine, machine))
    assert "gone" == row.wanted
    assert [] == await cloud.admin("listStoragePools")


async def test_maintenance(cloud: Cloud):
    """An empty host is in maintenance at once; one with machines when they have left."""
    host = await cloud.admin.job("prepareHostForMaintenance", id=cloud.host["id"])
    assert "Maintenance" == host["resourcestate"]
    with refusal(431, "already"):
        await cloud.admin("prepareHostForMaintenance", id=cloud.host["id"])
    with refusal(431, "cancelHostMaintenance"):
        await cloud.admin("updateHost", id=cloud.host["id"], allocationstate="Enable")
    host = await cloud.admin.job("cancelHostMaintenance", id=cloud.host["id"])
    assert "Enabled" == host["resourcestate"]
    id_ = await cloud.machine(host=cloud.host["id"], power="running")
    accepted = await cloud.admin("prepareHostForMaintenance", id=cloud.host["id"])
    assert 0 == (await cloud.admin("queryAsyncJobResult", jobid=accepted["jobid"]))["jobstatus"]
    (host,) = await cloud.admin("listHosts", type="Routing")
    assert "PrepareForMaintenance" == host["resourcestate"]
    assert 1 == len(await cloud.turns("maintenance"))
    assert id_


async def test_update_host(cloud: Cloud):
    """Tags, name and whether machines are placed there."""
    host = await cloud.admin("updateHost", id=cloud.host["id"], name="box", hosttags="ssd, gpu,ssd", allocationstate="Disable")
    assert ("box", "ssd,gpu", "Disabled") == (host["name"], host["hosttags"], host["resourcestate"])
    host = await cloud.admin("updateHost", id=cloud.host["id"], hosttags="")
    assert "hosttags" not in host


async def test_hypervisors_of_a_zone(cloud: Cloud):
    """A zone names what its clusters run; the cloud, what they could."""
    assert [{"name": "Simulator"}] == await cloud.admin("listHypervisors", zoneid=cloud.zone["id"])
    assert ["KVM", "LXC", "Simulator"] == [row["name"] for row in await cloud.admin("listHypervisors")]
