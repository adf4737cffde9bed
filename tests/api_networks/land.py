"""A zone with what guests need: a compute offering, a template that is there, networks; and jobs that can be ended by hand."""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries import addresses, events, jobs, nics
from sysvm.store.store import Tx
from tests.api.stage import Asker, Stage
from tests.api_infrastructure.cloud import Cloud


@dataclass
class Land:
    """The zone and the people in it."""

    cloud: Cloud
    offering: dict[str, Any]
    template: dict[str, Any]

    @property
    def stage(self) -> Stage:
        return self.cloud.stage

    @property
    def admin(self) -> Asker:
        return self.cloud.admin

    @property
    def zone(self) -> str:
        return self.cloud.zone["id"]

    @classmethod
    async def settle(cls, stage: Stage) -> "Land":
        """A zone where guests can be deployed."""
        cloud = await Cloud.build(stage)
        offering = await stage.admin(
            "createServiceOffering", name="small", displaytext="small", cpunumber=1, cpuspeed=500, memory=128
        )
        template = await cloud.template(
            hypervisor="Simulator", format="RAW", url="http://example.org/tiny.raw", ispublic=True, passwordenabled=True
        )
        await cloud.downloaded(template["id"])
        return cls(cloud, offering, template)

    async def network_offering(self, name: str = "DefaultIsolatedNetworkOfferingWithSourceNatService") -> str:
        """The id of an enabled network offering."""
        (found,) = await self.admin("listNetworkOfferings", name=name)
        return str(found["id"])

    async def network(self, who: Asker | None = None, name: str = "net", **params: Any) -> dict[str, Any]:
        """An isolated network."""
        given = {"zoneid": self.zone, "name": name, "displaytext": name, "networkofferingid": await self.network_offering()}
        return await (who or self.admin)("createNetwork", **{**given, **params})

    async def deploy(self, who: Asker | None = None, **params: Any) -> dict[str, Any]:
        """A guest that is not started, as listVirtualMachines shows it."""
        given = {"zoneid": self.zone, "serviceofferingid": self.offering["id"], "templateid": self.template["id"],
                 "startvm": False}  # fmt: skip
        asker = who or self.admin
        accepted = await asker("deployVirtualMachine", **{**given, **params})
        (row,) = await asker("listVirtualMachines", id=accepted["id"], userdata=True)
        return row

    async def implemented(self, network_id: str) -> dict[str, Any]:
        """The network with a public address and a running router, as the orchestrator would have made them."""

        def write(tx: Tx) -> None:
            network = tx.one(sa.select(tables.network).where(tables.network.c.uuid == network_id))
            tx.update(tables.network, network.id, state="Implemented")
            offering = tx.value(
                sa.select(tables.service_offering.c.id).where(tables.service_offering.c.unique_name == "Cloud.Com-SoftwareRouter")
            )
            host = tx.value(sa.select(tables.host.c.id))
            owner = {"account_id": network.account_id, "domain_id": network.domain_id, "domain_path": network.domain_path}
            router = tx.insert(
                tables.machine, uuid=self.stage.ids.uuid(), name=f"r-{network.id}-VM", kind="router", hypervisor="Simulator",
                zone_id=network.zone_id, host_id=host, service_offering_id=offering, network_id=network.id,
                role="VIRTUAL_ROUTER", wanted="running", power="running", agent_up=True, document_live="x",
                template_version="4.20.0", created=tx.now, **owner,
            )  # fmt: skip
            nics.add_nic(tx, router, 0, "guest", network_id=network.id, addresses=((network.gateway, 24),))
            nics.add_nic(tx, router, 1, "control", addresses=((addresses.take_control_ip(tx, host, router), 16),))
            ip = addresses.take_public_ip(
                tx, network.zone_id, system=False, actor=events.Actor(1, **owner), network_id=network.id, source_nat=True
            )
            public = ((tables.unpack_address(ip.address), 24),)
            nics.add_nic(tx, router, 2, "public", addresses=public, gateway="203.0.113.1", is_default=True,
                         public_range_id=ip.ip_range_id)  # fmt: skip

        await self.stage.store.run(write)
        (row,) = await self.admin("listNetworks", id=network_id, listall=True)
        return row

    async def source_nat(self) -> dict[str, Any]:
        """The source NAT address of the only network."""
        (row,) = await self.admin("listPublicIpAddresses", issourcenat=True)
        return dict(row)

    async def public_ip(self, network: dict[str, Any], who: Asker | None = None, **params: Any) -> dict[str, Any]:
        """An address of the network."""
        return await self.job("associateIpAddress", who=who, networkid=network["id"], **params)

    async def job(self, command: str, *, who: Asker | None = None, **params: Any) -> Any:
        """The result's object of a job whose parts are served at once."""
        asker = who or self.admin
        accepted = await asker(command, **params)
        await self.serve(accepted["jobid"])
        over = await asker("queryAsyncJobResult", jobid=accepted["jobid"])
        assert over["jobstatus"] == 1, over
        result = over["jobresult"]
        ((_, inside),) = result.items()
        return inside

    async def serve(self, job: str) -> None:
        """Every part of a job has come to the outcome that it waits for."""

        def write(tx: Tx) -> None:
            row = tx.one(sa.select(tables.job).where(tables.job.c.uuid == job))
            for part in jobs.open_parts_of(tx, row.id):
                jobs.settle(tx, part.kind, part.thing_id, part.wish, part.outcome)

        await self.stage.store.run(write)

    async def open_parts(self, job: str) -> list[tuple[str, str]]:
        """What a job waits for: kinds and outcomes."""

        def read(tx: Tx) -> list[tuple[str, str]]:
            row = tx.one(sa.select(tables.job).where(tables.job.c.uuid == job))
            return [(part.kind, part.outcome) for part in jobs.open_parts_of(tx, row.id)]

        return await self.stage.store.read(read)

    async def set_machine(self, uuid: str, **values: Any) -> None:
        """Facts of a machine that only the orchestrator writes."""
        await self.cloud.change(tables.machine, uuid, **values)

    async def rows(self, statement: sa.Select[Any]) -> list[Any]:
        """Rows of the database."""
        return list(await self.stage.store.read(lambda tx: tx.all(statement)))
