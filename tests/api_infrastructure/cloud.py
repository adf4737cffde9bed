"""A zone, built in the order in which deployDataCenter-style clients build it."""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.store import Tx
from tests.api.stage import Asker, Stage

PUBLIC = {"gateway": "203.0.113.1", "netmask": "255.255.255.0", "startip": "203.0.113.10", "endip": "203.0.113.20"}
POD = {"gateway": "172.16.0.1", "netmask": "255.255.255.0", "startip": "172.16.0.10", "endip": "172.16.0.50"}


@dataclass
class Cloud:
    """What has been built, as the API's rows."""

    stage: Stage
    zone: dict[str, Any]
    physical: dict[str, Any]
    pod: dict[str, Any]
    public: dict[str, Any]
    cluster: dict[str, Any]
    host: dict[str, Any]
    pool: dict[str, Any]
    store: dict[str, Any]

    @property
    def admin(self) -> Asker:
        return self.stage.admin

    @classmethod
    async def build(cls, stage: Stage, hypervisor: str = "Simulator") -> "Cloud":
        """A zone, enabled, of one host."""
        admin = stage.admin
        zone = await make_zone(stage, "zone1")
        physical = await make_physical_network(admin, zone["id"])
        pod = await admin("createPod", zoneid=zone["id"], name="pod1", **POD)
        public = await admin("createVlanIpRange", zoneid=zone["id"], forvirtualnetwork=True, vlan="untagged", **PUBLIC)
        (cluster,) = await admin(
            "addCluster",
            zoneid=zone["id"],
            podid=pod["id"],
            clustername="c1",
            clustertype="CloudManaged",
            hypervisor=hypervisor,
        )
        (host,) = await admin(
            "addHost", zoneid=zone["id"], podid=pod["id"], clusterid=cluster["id"], hypervisor=hypervisor,
            url="http://host1", username="root", password="password",
        )  # fmt: skip
        pool = await admin(
            "createStoragePool", zoneid=zone["id"], podid=pod["id"], clusterid=cluster["id"], name="primary1",
            url="file:///srv/primary", scope="CLUSTER",
        )  # fmt: skip
        store = await admin("addImageStore", zoneid=zone["id"], provider="Filesystem", name="images1", url="file:///srv/images")
        zone = await admin("updateZone", id=zone["id"], allocationstate="Enabled")
        return cls(stage, zone, physical, pod, public, cluster, host, pool, store)

    async def add_host(self, name: str, **params: Any) -> dict[str, Any]:
        """A further host of the cluster."""
        (host,) = await self.admin(
            "addHost", zoneid=self.zone["id"], podid=self.pod["id"], clusterid=self.cluster["id"],
            hypervisor=self.cluster["hypervisortype"], url=f"http://{name}", **params,
        )  # fmt: skip
        return host

    async def template(self, who: Asker | None = None, **params: Any) -> dict[str, Any]:
        """A registered template."""
        given = {"name": "tiny", "displaytext": "tiny", "format": "QCOW2", "hypervisor": "KVM", "zoneid": self.zone["id"],
                 "url": "http://example.org/tiny.qcow2"}  # fmt: skip
        (row,) = await (who or self.admin)("registerTemplate", **{**given, **params})
        return row

    async def change(self, table: sa.Table, uuid: str, **values: Any) -> None:
        """A column that only the orchestrator writes."""
        await self.stage.store.run(lambda tx: tx.change(sa.update(table).where(table.c.uuid == uuid).values(**values)))

    async def downloaded(self, uuid: str, state: str = "DOWNLOADED", **values: Any) -> None:
        """The template's copies have come to this state."""

        def write(tx: Tx) -> None:
            id_ = tx.value(sa.select(tables.template.c.id).where(tables.template.c.uuid == uuid))
            copy = tables.template_copy
            tx.change(sa.update(copy).where(copy.c.template_id == id_).values(state=state, **values))

        await self.stage.store.run(write)

    async def turns(self, kind: str) -> list[int]:
        """The things of a kind that somebody shall look at."""
        table = tables.turn
        rows = await self.stage.store.read(lambda tx: tx.all(sa.select(table.c.id).where(table.c.kind == kind)))
        return [row.id for row in rows]

    async def machine(self, kind: str = "guest", *, host: str = "", template: str = "", pool: str = "", **values: Any) -> int:
        """A machine's row, as deploying or the orchestrator writes it."""

        def insert(tx: Tx) -> int:
            zone = tx.value(sa.select(tables.zone.c.id).where(tables.zone.c.uuid == self.zone["id"]))
            host_id = tx.value(sa.select(tables.host.c.id).where(tables.host.c.uuid == host))
            template_id = tx.value(sa.select(tables.template.c.id).where(tables.template.c.uuid == template))
            offering = tx.value(sa.select(tables.service_offering.c.id).limit(1))
            owner = {"account_id": 2, "domain_id": 1, "domain_path": "/1/"}
            id_ = tx.insert(
                tables.machine, uuid=self.stage.ids.uuid(), name=f"{kind}-1-VM", kind=kind, zone_id=zone, host_id=host_id,
                template_id=template_id, service_offering_id=offering, created=tx.now, **owner, **values,
            )  # fmt: skip
            pool_id = tx.value(sa.select(tables.storage_pool.c.id).where(tables.storage_pool.c.uuid == pool))
            if pool_id is not None:
                tx.insert(
                    tables.volume, uuid=self.stage.ids.uuid(), name="ROOT", zone_id=zone, pool_id=pool_id, host_id=host_id,
                    machine_id=id_, size_bytes=1 << 30, created=tx.now, **owner,
                )  # fmt: skip
            return id_

        return await self.stage.store.run(insert)


async def make_zone(stage: Stage, name: str, **params: Any) -> dict[str, Any]:
    """A new, disabled zone."""
    given = {"name": name, "networktype": "Advanced", "dns1": "192.0.2.53", "internaldns1": "192.0.2.53"}
    return await stage.admin("createZone", **{**given, **params})


async def make_physical_network(admin: Asker, zone_id: str, **params: Any) -> dict[str, Any]:
    """A physical network with all traffic types, its router provider enabled."""
    given = {"zoneid": zone_id, "name": "physical1", "isolationmethods": "VXLAN", "vlan": "5000-5999"}
    physical = await admin.job("createPhysicalNetwork", **{**given, **params})
    for traffic in ("Management", "Guest", "Public", "Storage"):
        await admin.job("addTrafficType", physicalnetworkid=physical["id"], traffictype=traffic)
    physical = await admin.job("updatePhysicalNetwork", id=physical["id"], state="Enabled")
    for provider in await admin("listNetworkServiceProviders", physicalnetworkid=physical["id"]):
        for element in await admin("listVirtualRouterElements", nspid=provider["id"]):
            await admin.job("configureVirtualRouterElement", id=element["id"], enabled=True)
        await admin.job("updateNetworkServiceProvider", id=provider["id"], state="Enabled")
    return physical
