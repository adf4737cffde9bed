"""The API of a simulated cloud as its admin uses it, and what a zone has to have for guests."""

from typing import Any

from sysvm.api.app import make_apps
from sysvm.api.passwords import Passwords
from sysvm.store import tables
from sysvm.store.store import Tx
from tests.api.stage import CHEAP, Asker
from tests.simulation.cloud import OWNER, Cloud


def ground(tx: Tx, cloud: Cloud, zone: int) -> None:
    """What guests need besides hosts: a physical network, primary storage, a template; and keys for the admin."""
    life = {"created": tx.now}
    physical = tx.insert(tables.physical_network, uuid=cloud.ids.uuid(), zone_id=zone, name="p", state="Enabled", **life)
    tx.insert(tables.traffic_type, uuid=cloud.ids.uuid(), physical_network_id=physical, traffic_type="Guest", **life)
    tx.insert(tables.storage_pool, uuid=cloud.ids.uuid(), zone_id=zone, name="s", path="/pool", type="Filesystem", **life)
    template = tx.insert(
        tables.template, uuid="5b0f2f3c-0000-4000-8000-000000000001", name="tiny", hypervisor="Simulator", format="RAW",
        is_public=True, password_enabled=True, virtual_bytes=1 << 30, sha256="0" * 64, **OWNER, **life,
    )  # fmt: skip
    tx.insert(tables.template_copy, template_id=template, zone_id=zone, state="DOWNLOADED", **life)
    tx.update(tables.user, 2, api_key="key", secret_key=cloud.vault.seal("secret"))


class Client:
    """The admin, who waits for his jobs."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        apps = make_apps(cloud.store, cloud.ids, cloud.vault, Passwords(**CHEAP))
        self.ask = Asker(apps.main, "key", "secret")

    async def job(self, command: str, **params: Any) -> Any:
        """The object of the result, after as much virtual time as it takes."""
        accepted = await self.ask(command, **params)
        for _ in range(600):
            over = await self.ask("queryAsyncJobResult", jobid=accepted["jobid"])
            if over["jobstatus"]:
                assert over["jobstatus"] == 1, over
                ((_, inside),) = over["jobresult"].items()
                return inside
            await self.cloud.clock.sleep(1)
        raise AssertionError(f"{command} does not end: {over}")

    async def one(self, command: str, **params: Any) -> dict[str, Any]:
        """The only row of a list."""
        (row,) = await self.ask(command, **params)
        return row
