"""Routers and system VMs by the API: rows, right and wrong states, events."""

import json
from typing import Any

import pytest
import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries import addresses, nics
from sysvm.store.queries.events import SYSTEM
from sysvm.store.store import Tx
from tests.api.rows import assert_row_matches_catalogue
from tests.api.stage import refusal
from tests.api_networks.land import Land

SYSTEM_OWNER = {"account_id": 1, "domain_id": 1, "domain_path": "/1/"}
OFFERINGS = {"consoleproxy": "Cloud.com-ConsoleProxy", "secstorage": "Cloud.com-SecondaryStorage"}


@pytest.fixture
async def router(land: Land) -> dict[str, Any]:
    """A running router."""
    network = await land.network()
    await land.implemented(network["id"])
    (row,) = await land.admin("listRouters", listall=True)
    return row


async def system_vm(land: Land, kind: str) -> dict[str, Any]:
    """A running system VM, as its zone's turn makes it."""

    def write(tx: Tx) -> str:
        offering, zone = tables.service_offering.c, tx.value(sa.select(tables.zone.c.id))
        uuid = land.stage.ids.uuid()
        id_ = tx.insert(
            tables.machine, uuid=uuid, name=f"x-{kind}-VM", kind=kind, zone_id=zone, hypervisor="Simulator",
            host_id=tx.value(sa.select(tables.host.c.id)),
            service_offering_id=tx.value(sa.select(offering.id).where(offering.unique_name == OFFERINGS[kind])),
            wanted="running", power="running", agent_up=True, document_live="x", template_version="4.20.0", sessions=3,
            created=tx.now, **SYSTEM_OWNER,
        )  # fmt: skip
        nics.add_nic(tx, id_, 0, "control", addresses=(("169.254.0.9", 16),))
        management = nics.add_nic(tx, id_, 1, "management")
        taken = addresses.take_private_ip(tx, zone, "Management", management)
        nics.set_primary(tx, management, taken.address, taken.prefix, taken.gateway)
        ip = addresses.take_public_ip(tx, zone, system=True, actor=SYSTEM, machine_id=id_)
        nics.add_nic(tx, id_, 2, "public", addresses=((tables.unpack_address(ip.address), 24),), gateway="203.0.113.1",
                     is_default=True, public_range_id=ip.ip_range_id)  # fmt: skip
        return uuid

    uuid = await land.stage.store.run(write)
    (row,) = await land.admin("listSystemVms", id=uuid)
    return row


async def test_a_routers_row_is_whole(land: Land, router: dict[str, Any]):
    assert_row_matches_catalogue("listRouters", router)
    assert ("Running", "VIRTUAL_ROUTER", "10.1.1.1", "203.0.113.10", "169.254.0.2", 3, False) == (
        router["state"], router["role"], router["guestipaddress"], router["publicip"], router["linklocalip"],
        len(router["nic"]), router["requiresupgrade"],
    )  # fmt: skip
    assert ["Guest", "Control", "Public"] == [nic["traffictype"] for nic in router["nic"]]


async def test_domain_admins_see_a_reduced_row_of_their_router(land: Land):
    user = await land.stage.user("owner", role="Domain Admin")
    network = await land.network(user)
    await land.implemented(network["id"])
    (row,) = await user("listRouters")
    assert {"hostid", "hostname", "linklocalip", "podid"} & set(row) == set()
    assert ["Guest", "Public"] == [nic["traffictype"] for nic in row["nic"]]
    with refusal(432):
        await user("rebootRouter", id=row["id"])


async def test_life_of_a_router(land: Land, router: dict[str, Any]):
    accepted = await land.admin("rebootRouter", id=router["id"])
    assert [("machine", "running")] == await land.open_parts(accepted["jobid"])
    await land.serve(accepted["jobid"])
    accepted = await land.admin("stopRouter", id=router["id"], forced=True)
    await land.set_machine(router["id"], power="stopped")
    await land.serve(accepted["jobid"])
    over = await land.admin("queryAsyncJobResult", jobid=accepted["jobid"])
    assert "Stopped" == over["jobresult"]["router"]["state"]
    with refusal(534, "Unable to reboot domR, it is not in right state Stopped"):
        await land.admin("rebootRouter", id=router["id"])
    accepted = await land.admin("destroyRouter", id=router["id"])
    assert [("machine", "gone")] == await land.open_parts(accepted["jobid"])
    (row,) = await land.admin("listRouters", listall=True)
    assert "Expunging" == row["state"]


async def test_an_offering_is_changed_while_stopped(land: Land, router: dict[str, Any]):
    big = await land.admin(
        "createServiceOffering", name="big", displaytext="big", cpunumber=2, cpuspeed=500, memory=1024, issystem=True,
        systemvmtype="domainrouter",
    )  # fmt: skip
    with refusal(431, "must be Stopped"):
        await land.admin("changeServiceForRouter", id=router["id"], serviceofferingid=big["id"])
    with refusal(431, "is not a system offering"):
        await land.admin("changeServiceForRouter", id=router["id"], serviceofferingid=land.offering["id"])
    await land.set_machine(router["id"], wanted="stopped", power="stopped")
    changed = await land.admin("changeServiceForRouter", id=router["id"], serviceofferingid=big["id"])
    assert big["id"] == changed["serviceofferingid"]


@pytest.mark.parametrize(("kind", "type_", "events"), [
    ("consoleproxy", "consoleproxy", "PROXY"), ("secstorage", "secondarystoragevm", "SSVM"),
])  # fmt: skip
async def test_a_system_vms_row_and_events(land: Land, kind: str, type_: str, events: str):
    row = await system_vm(land, kind)
    assert_row_matches_catalogue("listSystemVms", row)
    assert (type_, "Running", "Up", "172.16.0.10") == (row["systemvmtype"], row["state"], row["agentstate"], row["privateip"])
    assert ("activeviewersessions" in row) is (kind == "consoleproxy")
    await land.job("rebootSystemVm", id=row["id"])
    found = await land.admin("listEvents", type=f"{events}.REBOOT")
    assert {"Scheduled", "Started", "Completed"} == {event["state"] for event in found}


async def test_system_vms_are_filtered(land: Land):
    proxy, worker = await system_vm(land, "consoleproxy"), await system_vm(land, "secstorage")
    for params, expected in (
        ({}, [proxy["id"], worker["id"]]),
        ({"systemvmtype": "ConsoleProxy"}, [proxy["id"]]),
        ({"name": worker["name"]}, [worker["id"]]),
        ({"state": "Stopped"}, []),
        ({"state": "Running", "zoneid": land.zone}, [proxy["id"], worker["id"]]),
        ({"page": 2, "pagesize": 1}, [worker["id"]]),
    ):
        assert expected == [row["id"] for row in await land.admin("listSystemVms", **params)], params


async def test_stopping_and_destroying_stir_the_zone(land: Land):
    proxy = await system_vm(land, "consoleproxy")
    await land.admin("stopSystemVm", id=proxy["id"])
    await land.admin("destroySystemVm", id=proxy["id"])
    assert 1 == len(await land.cloud.turns("zone"))


async def test_system_vms_scale_up_only_while_they_run(land: Land):
    proxy = await system_vm(land, "consoleproxy")
    made = {}
    for name, memory in (("less", 512), ("more", 4096)):
        made[name] = await land.admin(
            "createServiceOffering", name=name, displaytext=name, cpunumber=1, cpuspeed=500, memory=memory, issystem=True,
            systemvmtype="consoleproxy",
        )  # fmt: skip
    with refusal(431, "Only scaling up"):
        await land.admin("scaleSystemVm", id=proxy["id"], serviceofferingid=made["less"]["id"])
    answer = await land.admin.ask("scaleSystemVm", id=proxy["id"], serviceofferingid=made["more"]["id"])
    assert ["changeserviceforsystemvmresponse"] == list(answer.json)


async def test_moving_needs_another_host(land: Land, router: dict[str, Any]):
    for params, code, text in (
        ({}, 431, "Please specify a host or storage as destination"),
        ({"hostid": router["hostid"], "storageid": "5b0f2f3c-0000-4000-8000-000000000000"}, 431, "Only one of"),
        ({"hostid": router["hostid"]}, 431, "already on host"),
        ({"autoselect": True}, 533, "another host"),
    ):
        with refusal(code, text):
            await land.admin("migrateSystemVm", virtualmachineid=router["id"], **params)
    other = await land.cloud.add_host("host2")
    await land.cloud.change(tables.host, other["id"], state="Up")
    accepted = await land.admin("migrateSystemVm", virtualmachineid=router["id"], hostid=other["id"])
    assert [("machine", "running")] == await land.open_parts(accepted["jobid"])
    (row,) = await land.admin("listRouters", listall=True)
    assert "Migrating" == row["state"]


async def test_only_running_system_vms_are_patched(land: Land, router: dict[str, Any]):
    with refusal(431, "patchSystemVm API can be used to patch CPVM / SSVM only."):
        await land.admin("patchSystemVm", id=router["id"])
    proxy = await system_vm(land, "consoleproxy")
    await land.set_machine(proxy["id"], wanted="stopped", power="stopped")
    with refusal(431, "not in Running state"):
        await land.admin("patchSystemVm", id=proxy["id"])


async def test_diagnostics_are_a_task_with_an_answer(land: Land, router: dict[str, Any]):
    for params, text in (
        ({"type": "nmap", "ipaddress": "10.1.1.2"}, "Invalid diagnostics type"),
        ({"type": "ping", "ipaddress": "10.1.1.2; reboot"}, "is not a valid IP address or host name"),
        ({"type": "ping", "ipaddress": "10.1.1.2", "params": "-c 1 | sh"}, "special characters"),
    ):
        with refusal(431, text):
            await land.admin("runDiagnostics", targetid=router["id"], **params)
    accepted = await land.admin("runDiagnostics", targetid=router["id"], type="ping", ipaddress="10.1.1.2", params="-c 1")
    assert [("task", "done")] == await land.open_parts(accepted["jobid"])
    (task,) = await land.rows(sa.select(tables.task))
    result = '{"exit_code": 0, "stdout": "1 received", "stderr": ""}'
    await land.stage.store.run(lambda tx: tx.update(tables.task, task.id, state="done", result=result))
    await land.serve(accepted["jobid"])
    over = await land.admin("queryAsyncJobResult", jobid=accepted["jobid"])
    assert {"exitcode": "0", "stdout": "1 received", "stderr": ""} == over["jobresult"]["diagnostics"]


async def test_diagnostics_data_is_an_address_at_secondary_storage(land: Land, router: dict[str, Any]):
    await land.stage.store.run(lambda tx: tx.change(sa.update(tables.image_store).values(read_only=True)))
    with refusal(534, "Secondary storage of the zone"):
        await land.admin("getDiagnosticsData", targetid=router["id"])

    def add(tx: Tx) -> None:
        zone = tx.value(sa.select(tables.zone.c.id))
        tx.insert(tables.image_store, uuid="store-1", zone_id=zone, name="s", url="file:///s", protocol="file", created=tx.now)

    await land.stage.store.run(add)
    keeper = await system_vm(land, "secstorage")
    accepted = await land.admin("getDiagnosticsData", targetid=router["id"], files="[IPTABLES],/var/log/sysvm")
    (task,) = await land.rows(sa.select(tables.task))
    assert {"files": ["[IPTABLES]", "/var/log/sysvm"], "store": "store-1"} == json.loads(task.body)
    result = json.dumps({"store": "store-1", "image": task.uuid, "sha256": "a" * 64, "size": 7, "zone": 1})
    await land.stage.store.run(lambda tx: tx.update(tables.task, task.id, state="done", result=result))
    await land.serve(accepted["jobid"])
    over = await land.admin("queryAsyncJobResult", jobid=accepted["jobid"])
    url = over["jobresult"]["diagnostics"]["url"]
    assert url.startswith(f"http://{keeper['publicip']}/userdata/") and url.endswith(f"diagnostics-{router['name']}.zip")
