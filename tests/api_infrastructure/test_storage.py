"""Primary storage and image stores."""

import pytest
import sqlalchemy as sa

from sysvm.store import tables
from tests.api.stage import Stage, refusal
from tests.api_infrastructure.cloud import Cloud


async def test_a_directory_belongs_to_the_only_host_of_its_cluster(stage: Stage):
    """Then its size is that of the host's disk until the host reports the pool's own."""
    cloud = await Cloud.build(stage, "KVM")
    await cloud.change(tables.host, cloud.host["id"], facts={"name": "host1", "disk_bytes": 5 << 40, "disk_used": 1 << 40})
    (pool,) = await cloud.admin("listStoragePools", path="/srv/primary")
    assert ("Filesystem", "CLUSTER", "Up", "host1", 5 << 40, 1 << 40) == tuple(
        pool[name] for name in ("type", "scope", "state", "ipaddress", "disksizetotal", "disksizeused")
    )
    await cloud.change(tables.storage_pool, pool["id"], capacity_bytes=7, used_bytes=3)
    (pool,) = await cloud.admin("listStoragePools")
    assert (7, 3) == (pool["disksizetotal"], pool["disksizeused"])


@pytest.mark.parametrize("by", ["name", "id"])
async def test_with_several_hosts_the_url_names_one(stage: Stage, by: str):
    """A directory is of one host; which one has to be said."""
    cloud = await Cloud.build(stage, "LXC")
    second = await cloud.add_host("host2")
    there = {"zoneid": cloud.zone["id"], "podid": cloud.pod["id"], "clusterid": cloud.cluster["id"]}
    with refusal(431, "name it in the url"):
        await cloud.admin("createStoragePool", name="p2", url="file:///srv/p2", **there)
    pool = await cloud.admin("createStoragePool", name="p2", url=f"file://{second[by]}/srv/p2", scope="HOST", **there)
    assert ("host2", "/srv/p2", "HOST") == (pool["ipaddress"], pool["path"], pool["scope"])


@pytest.mark.parametrize("scope", ["CLUSTER", "ZONE"])
async def test_simulated_hosts_share_storage_that_nobody_mounts(stage: Stage, scope: str):
    """What CloudStack's own test-suite makes a zone of: nfs:// in a cluster of hypervisor Simulator."""
    cloud = await Cloud.build(stage, "Simulator")
    there = {"zoneid": cloud.zone["id"], "hypervisor": "Simulator"}
    there |= {"podid": cloud.pod["id"], "clusterid": cloud.cluster["id"]} if scope == "CLUSTER" else {}
    pool = await cloud.admin("createStoragePool", name="ps0", scope=scope, url="nfs://192.0.2.6:/export/home/primary0", **there)
    assert ("NetworkFilesystem", "192.0.2.6", "/export/home/primary0", scope) == tuple(
        pool[name] for name in ("type", "ipaddress", "path", "scope")
    )


async def test_other_hosts_mount_no_shared_storage_yet(stage: Stage):
    """A real host would have to."""
    cloud = await Cloud.build(stage, "KVM")
    there = {"zoneid": cloud.zone["id"], "podid": cloud.pod["id"], "clusterid": cloud.cluster["id"]}
    with refusal(431, "NFS is not supported yet"):
        await cloud.admin("createStoragePool", name="ps0", url="nfs://192.0.2.6/export", **there)


async def test_a_pool_needs_a_host(stage: Stage):
    """In an empty cluster nobody has the directory."""
    cloud = await Cloud.build(stage, "KVM")
    (empty,) = await cloud.admin(
        "addCluster", zoneid=cloud.zone["id"], podid=cloud.pod["id"], clustername="c2", clustertype="CloudManaged",
        hypervisor="KVM",
    )  # fmt: skip
    with refusal(431, "use addHost first"):
        await cloud.admin("createStoragePool", zoneid=cloud.zone["id"], clusterid=empty["id"], name="p2", url="file:///srv/p2")


async def test_maintenance_stops_the_machines_on_a_pool(cloud: Cloud):
    """The job waits until they have."""
    id_ = await cloud.machine(host=cloud.host["id"], pool=cloud.pool["id"], wanted="running")
    accepted = await cloud.admin("enableStorageMaintenance", id=cloud.pool["id"])
    over = await cloud.admin("queryAsyncJobResult", jobid=accepted["jobid"])
    assert 0 == over["jobstatus"]
    assert "stopped" == (await cloud.stage.store.read(lambda tx: tx.get(tables.machine, id_))).wanted
    with refusal(536, "1 volumes"):
        await cloud.admin("deleteStoragePool", id=cloud.pool["id"])
    back = await cloud.admin.job("cancelStorageMaintenance", id=cloud.pool["id"])
    assert "Up" == back["state"]


async def test_pools_can_be_disabled_and_renamed(cloud: Cloud):
    """A disabled pool takes no new volumes."""
    pool = await cloud.admin("updateStoragePool", id=cloud.pool["id"], enabled=False, name="slow", tags="hdd")
    assert ("Disabled", "slow", "hdd") == (pool["state"], pool["name"], pool["tags"])


async def test_an_image_store_can_be_nfs(cloud: Cloud):
    """Its url is kept in one form, so that the same export is not added twice."""
    store = await cloud.admin("addImageStore", zoneid=cloud.zone["id"], provider="NFS", url="nfs://server/export//images/")
    assert ("nfs", "NFS", "nfs://server/export/images", "ZONE", False) == tuple(
        store[name] for name in ("protocol", "providername", "url", "scope", "readonly")
    )
    with refusal(431, "already"):
        await cloud.admin("addImageStore", zoneid=cloud.zone["id"], provider="NFS", url="nfs://server/export/images")


async def test_an_image_store_with_images_stays(cloud: Cloud):
    """Delete them first."""
    template = await cloud.template()
    await cloud.stage.store.run(lambda tx: tx.change(sa.update(tables.template_copy).values(store_id=1)))
    with refusal(536, "1 templates or ISOs"):
        await cloud.admin("deleteImageStore", id=cloud.store["id"])
    await cloud.admin("deleteTemplate", id=template["id"])
    assert {"success": True} == await cloud.admin("deleteImageStore", id=cloud.store["id"])


async def test_a_read_only_store_takes_no_new_images(cloud: Cloud):
    """The only one of its zone."""
    assert (await cloud.admin("updateImageStore", id=cloud.store["id"], readonly=True))["readonly"]
    with refusal(431, "addImageStore"):
        await cloud.template()
    assert [] == await cloud.admin("listImageStores", readonly=False)


async def test_what_is_on_a_store(cloud: Cloud):
    """The images that have arrived."""
    template = await cloud.template()
    assert [] == await cloud.admin("listImageStoreObjects", id=cloud.store["id"])
    await cloud.downloaded(template["id"], store_id=1)
    (found,) = await cloud.admin("listImageStoreObjects", id=cloud.store["id"])
    assert (template["id"], "tiny", "QCOW2") == (found["templateid"], found["templatename"], found["format"])


async def test_a_pool_of_one_host_needs_no_name_when_there_is_one(cloud: Cloud):
    """Scope HOST in a cluster of one host; simulated hosts, too, have pools of their own then."""
    there = {"zoneid": cloud.zone["id"], "podid": cloud.pod["id"], "clusterid": cloud.cluster["id"], "scope": "HOST"}
    pool = await cloud.admin("createStoragePool", name="p2", url="file:///srv/p2", **there)
    assert ("host1", "HOST") == (pool["ipaddress"], pool["scope"])
    await cloud.add_host("host2")
    with refusal(431, "file://host1/<path>"):
        await cloud.admin("createStoragePool", name="p3", url="file:///srv/p3", **there)
