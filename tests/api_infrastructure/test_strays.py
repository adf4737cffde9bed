"""What hosts have that is in no record: listed with its reason, kept or removed on an operator's word."""

from typing import Any

from sysvm.store import tables
from sysvm.store.queries import strays
from sysvm.store.store import Tx
from sysvm.wire.machines import MachineSeen, Power
from tests.api.rows import assert_row_matches_catalogue
from tests.api.stage import refusal
from tests.api_infrastructure.cloud import Cloud

NOBODY = "5f0b41de-0000-4000-8000-000000000001"


async def host_id(cloud: Cloud) -> int:
    """The zone's host."""
    return int((await cloud.stage.store.read(lambda tx: tx.rows(tables.host, "removed is null order by id")))[0].id)


async def sweep(cloud: Cloud, *seen: MachineSeen) -> strays.Strays:
    """The host was looked at, and has these."""
    id_ = await host_id(cloud)

    def compare(tx: Tx) -> strays.Strays:
        host = tx.get(tables.host, id_)
        assert host is not None
        return strays.compare(tx, host, seen)

    return await cloud.stage.store.run(compare)


def thing(machine: str = NOBODY, incarnation: int = 2, power: Power = Power.STOPPED) -> MachineSeen:
    """Something on a host."""
    return MachineSeen(machine=machine, incarnation=incarnation, power=power)


async def listed(cloud: Cloud, **params: Any) -> list[dict[str, Any]]:
    """What listStrays shows."""
    return await cloud.stage.admin("listStrays", **params)


async def test_a_stray_is_listed_with_its_host_its_time_and_its_reason(cloud: Cloud):
    """Until it is on its host no more."""
    assert [] == await listed(cloud)
    await sweep(cloud, thing(power=Power.RUNNING))
    (row,) = await listed(cloud)
    assert_row_matches_catalogue("listStrays", row)
    (host,) = await cloud.stage.admin("listHosts", type="Routing")
    assert (NOBODY, 2, "Running", False) == (row["machineid"], row["incarnation"], row["state"], row["kept"])
    assert (host["id"], host["name"], host["zoneid"]) == (row["hostid"], row["hostname"], row["zoneid"])
    assert "no machine of this cloud" in row["reason"] and "name" not in row
    assert row["found"] < row["keptuntil"]
    await sweep(cloud)
    assert [] == await listed(cloud)


async def test_what_a_known_machine_left_behind_says_whose_it_is(cloud: Cloud):
    """Its name, its kind, and why it is a stray all the same."""
    id_ = await host_id(cloud)

    def known(tx: Tx) -> None:
        host = tx.get(tables.host, id_)
        offering = tx.sql("select id from service_offering order by id limit 1")[0][0]
        facts = {"kind": "router", "zone_id": host.zone_id, "service_offering_id": offering, "incarnation": 3,
                 "account_id": 1, "domain_id": 1, "domain_path": "/1/", "created": tx.now}  # fmt: skip
        tx.insert(tables.machine, uuid="m-1", name="r-1-VM", **facts)
        tx.insert(tables.machine, uuid="m-2", name="r-2-VM", removed=tx.now, **facts)

    await cloud.stage.store.run(known)
    await sweep(cloud, thing("m-1", 2), thing("m-1", 3), thing("m-2", 3))
    rows = await listed(cloud)
    assert ["r-1-VM", "r-1-VM", "r-2-VM"] == [row["name"] for row in rows]
    assert {"router"} == {row["type"] for row in rows}
    assert [
        "r-1-VM has been replaced: it lives its incarnation 3",
        "r-1-VM is not recorded to be on this host",
        "r-2-VM was removed from the records",
    ] == [row["reason"] for row in rows]
    assert 2 == len(await listed(cloud, keyword="r-1"))


async def test_lists_are_narrowed_by_zone_host_and_id(cloud: Cloud):
    """And paged."""
    await sweep(cloud, thing(), thing("other"))
    (host,) = await cloud.stage.admin("listHosts", type="Routing")
    (first, second) = await listed(cloud, hostid=host["id"], zoneid=host["zoneid"])
    assert [second] == await listed(cloud, id=second["id"])
    assert [first] == await listed(cloud, page=1, pagesize=1)
    elsewhere = await cloud.stage.admin(
        "createZone", name="b", dns1="192.0.2.1", internaldns1="192.0.2.2", networktype="Advanced"
    )
    assert [] == await listed(cloud, zoneid=elsewhere["id"])


async def test_a_stray_is_removed_at_once_when_an_operator_says_so(cloud: Cloud):
    """Stopped first when it runs; and the host's sweep is due."""
    await sweep(cloud, thing(power=Power.RUNNING))
    (row,) = await listed(cloud)
    assert strays.Strays() == await sweep(cloud, thing())  # stopped: it is kept for the grace
    await cloud.stage.admin("removeStray", id=row["id"])
    assert strays.Strays(stop=(thing(power=Power.RUNNING),)) == await sweep(cloud, thing(power=Power.RUNNING))
    assert strays.Strays(remove=(thing(),)) == await sweep(cloud, thing())
    await sweep(cloud)
    with refusal(431, "entity does not exist"):
        await cloud.stage.admin("removeStray", id=row["id"])


async def test_a_stray_is_kept_until_an_operator_says_otherwise(cloud: Cloud):
    """Neither stopped nor removed, whatever the time; then it goes like any other."""
    await sweep(cloud, thing(power=Power.RUNNING))
    (row,) = await listed(cloud)
    await cloud.stage.admin("keepStray", id=row["id"])
    (kept,) = await listed(cloud)
    assert kept["kept"] is True and "keptuntil" not in kept
    await cloud.stage.store.run(lambda tx: tx.sql("update stray set found = 0"))
    assert strays.Strays() == await sweep(cloud, thing(power=Power.RUNNING))
    await cloud.stage.admin("removeStray", id=row["id"])
    assert strays.Strays(remove=(thing(),)) == await sweep(cloud, thing())
