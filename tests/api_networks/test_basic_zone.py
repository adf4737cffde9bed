"""A basic zone over the API and a whole server on simulated hosts: one network for all, security groups between guests, and
system VMs whose default NIC is on that network. Shared networks with security groups in an advanced zone, too."""

import asyncio
from typing import Any

import pytest
import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.store import Tx
from tests.api.stage import refusal
from tests.simulation.client import Client, ground
from tests.simulation.cloud import Cloud
from tests.simulation.loop import run

RANGE = {"gateway": "10.6.0.1", "netmask": "255.255.255.0", "startip": "10.6.0.10", "endip": "10.6.0.99"}
POD = {"gateway": "172.16.0.1", "netmask": "255.255.255.0", "startip": "172.16.0.10", "endip": "172.16.0.50"}
ZONE = {"networktype": "Basic", "dns1": "192.0.2.53", "internaldns1": "192.0.2.54"}


async def build(client: Client, hosts: int = 2) -> dict[str, Any]:
    """A basic zone as clients build one, enabled."""
    ask = client.ask
    zone = await ask("createZone", name="basic", **ZONE)
    physical = await client.job("createPhysicalNetwork", zoneid=zone["id"], name="p")
    for traffic in ("Management", "Guest"):
        await client.job("addTrafficType", physicalnetworkid=physical["id"], traffictype=traffic)
    await client.job("updatePhysicalNetwork", id=physical["id"], state="Enabled")
    for provider in await ask("listNetworkServiceProviders", physicalnetworkid=physical["id"]):
        for element in await ask("listVirtualRouterElements", nspid=provider["id"]):
            await client.job("configureVirtualRouterElement", id=element["id"], enabled=True)
    offering = await client.one("listNetworkOfferings", name="DefaultSharedNetworkOfferingWithSGService")
    await ask("createNetwork", zoneid=zone["id"], name="guests", displaytext="guests", networkofferingid=offering["id"])
    pod = await ask("createPod", zoneid=zone["id"], name="pod", **POD)
    await ask("createVlanIpRange", podid=pod["id"], forvirtualnetwork=False, **RANGE)
    (cluster,) = await ask(
        "addCluster", zoneid=zone["id"], podid=pod["id"], clustername="c", clustertype="CloudManaged", hypervisor="Simulator"
    )
    for number in range(hosts):
        await ask("addHost", zoneid=zone["id"], podid=pod["id"], clusterid=cluster["id"], hypervisor="Simulator",
                  url=f"http://h{number}", username="root", password="password")  # fmt: skip
    await ask("addImageStore", zoneid=zone["id"], provider="Filesystem", name="images", url="file:///srv/images")
    return dict(await ask("updateZone", id=zone["id"], allocationstate="Enabled"))


async def prepare(cloud: Cloud) -> Client:
    """An administrator with keys, and no zone."""

    def write(tx: Tx) -> None:
        tx.update(tables.user, 2, api_key="key", secret_key=cloud.vault.seal("secret"))

    await cloud.store.run(write)
    return Client(cloud)


async def furnish(cloud: Cloud, zone: dict[str, Any]) -> None:
    """What guests need besides hosts and a network."""

    def write(tx: Tx) -> None:
        ground(tx, cloud, tx.value(sa.select(tables.zone.c.id).where(tables.zone.c.uuid == zone["id"])))

    await cloud.store.run(write)


def told(cloud: Cloud) -> dict[str, set[tuple[str, ...]]]:
    """By machine: the groups that its ports have on some host."""
    found: dict[str, set[tuple[str, ...]]] = {}
    for host in cloud.earth.hosts.values():
        for port in host.groups.ports if host.groups is not None else ():
            found.setdefault(port.machine, set()).add(port.groups)
    return found


def rules_on(cloud: Cloud, group: str) -> list[int]:
    """How many ingress rules of a group each of the hosts has that know it."""
    documents = [host.groups for host in cloud.earth.hosts.values() if host.groups is not None]
    return [len(each.ingress) for found in documents for each in found.groups if each.group == group]


def test_a_basic_zone_from_nothing_to_guests_that_their_hosts_hold_to_groups():
    cloud = Cloud()

    async def main() -> None:
        async with cloud.server():
            await asyncio.wait_for(story(cloud), 3600)

    run(cloud.clock, main())


async def story(cloud: Cloud) -> None:
    client = await prepare(cloud)
    ask, job, one = client.ask, client.job, client.one
    zone = await build(client)
    assert ("Basic", True, "Enabled") == (zone["networktype"], zone["securitygroupsenabled"], zone["allocationstate"])
    assert await securitygroups_enabled(client)
    await furnish(cloud, zone)
    await system_vms(cloud, client)
    offering = await ask("createServiceOffering", name="g", displaytext="g", cpunumber=1, cpuspeed=500, memory=128)
    given = {"zoneid": zone["id"], "serviceofferingid": offering["id"],
             "templateid": "5b0f2f3c-0000-4000-8000-000000000001"}  # fmt: skip
    web = await ask("createSecurityGroup", name="web")
    clients = await ask("createSecurityGroup", name="clients")
    server = await job("deployVirtualMachine", name="server", securitygroupids=web["id"], **given)
    first = await job("deployVirtualMachine", name="first", securitygroupids=clients["id"], **given)
    plain = await job("deployVirtualMachine", name="plain", **given)
    default = await one("listSecurityGroups", securitygroupname="default")
    assert ("Running", "guests", True) == (server["state"], server["nic"][0]["networkname"], server["nic"][0]["isdefault"])
    router = await one("listRouters", zoneid=zone["id"])
    assert ("Running", None) == (router["state"], router.get("publicip"))
    assert router["guestipaddress"] not in (RANGE["gateway"], server["nic"][0]["ipaddress"])
    wanted = {server["id"]: {(web["id"],)}, first["id"]: {(clients["id"],)}, plain["id"]: {(default["id"],)}}
    assert wanted == told(cloud)
    await rules(cloud, client, web)
    await ask("updateVirtualMachine", id=first["id"], securitygroupids=default["id"])
    await cloud.until(lambda _: told(cloud)[first["id"]] == {(default["id"],)})
    await job("destroyVirtualMachine", id=server["id"], expunge=True)
    await ask("deleteSecurityGroup", id=web["id"])
    assert {first["id"], plain["id"]} >= set(told(cloud)) - {server["id"]}


async def securitygroups_enabled(client: Client) -> bool:
    return bool((await client.ask("listCapabilities"))["securitygroupsenabled"])


async def system_vms(cloud: Cloud, client: Client) -> None:
    """Both kinds run, by an address of the guests' network."""
    for kind in ("consoleproxy", "secondarystoragevm"):
        for _ in range(300):
            found = await client.ask("listSystemVms", systemvmtype=kind, state="Running")
            if found:
                break
            await cloud.clock.sleep(1)
        (vm,) = found
        assert (True, RANGE["gateway"]) == (vm["publicip"].startswith("10.6.0."), vm["gateway"]), vm


async def rules(cloud: Cloud, client: Client, web: dict[str, Any]) -> None:
    """A rule is on the hosts when its job has ended, and off them when it is taken back."""
    rule = await client.job(
        "authorizeSecurityGroupIngress", securitygroupid=web["id"], protocol="tcp", startport=80, endport=80,
        **{"usersecuritygrouplist[0].account": "admin", "usersecuritygrouplist[0].group": "clients"},
    )  # fmt: skip
    assert [1] == rules_on(cloud, web["id"])
    host = next(host for host in cloud.earth.hosts.values() if host.groups and host.groups.ports)
    assert any(each.members for host in cloud.earth.hosts.values() if host.groups for each in host.groups.groups), host
    await client.job("revokeSecurityGroupIngress", id=rule["ingressrule"][0]["ruleid"])
    assert [0] == rules_on(cloud, web["id"])


REFUSED = [
    ("createNetwork", {"offering": "DefaultIsolatedNetworkOfferingWithSourceNatService"}, 431),
    ("createNetwork", {"offering": "DefaultSharedNetworkOfferingWithSGService"}, 431),  # there is one already
    ("createVlanIpRange", {**RANGE, "forvirtualnetwork": True, "startip": "10.6.0.120", "endip": "10.6.0.130"}, 431),
    ("createVlanIpRange", {**RANGE, "forvirtualnetwork": False}, 431),  # overlaps
    ("createVlanIpRange", {**RANGE, "forvirtualnetwork": False, "gateway": "10.7.0.1", "startip": "10.7.0.5",
                           "endip": "10.7.0.9"}, 431),  # another subnet
]  # fmt: skip


@pytest.mark.parametrize(("command", "params", "code"), REFUSED)
def test_what_a_basic_zone_cannot_have_is_refused(command, params, code):
    cloud = Cloud()

    async def main() -> None:
        async with cloud.server():
            client = await prepare(cloud)
            zone = await build(client, hosts=1)
            values = {"zoneid": zone["id"], **params}
            if (name := values.pop("offering", None)) is not None:
                found = await client.one("listNetworkOfferings", name=name)
                values |= {"name": "n", "displaytext": "n", "networkofferingid": found["id"]}
            with refusal(code):
                await client.ask(command, **values)

    run(cloud.clock, main())


def test_more_addresses_of_the_same_subnet_are_given_out_when_the_first_ones_are_taken():
    cloud = Cloud()

    async def main() -> None:
        async with cloud.server():
            client = await prepare(cloud)
            zone = await build(client, hosts=1)
            more = {**RANGE, "startip": "10.6.0.100", "endip": "10.6.0.110"}
            made = await client.ask("createVlanIpRange", zoneid=zone["id"], forvirtualnetwork=False, **more)
            network = await client.one("listNetworks", zoneid=zone["id"])
            assert (network["id"], "10.6.0.0/24") == (made["networkid"], network["cidr"])

    run(cloud.clock, main())


def test_a_host_whose_link_is_cut_meanwhile_hears_of_the_rule_when_it_is_back():
    cloud = Cloud()

    async def main() -> None:
        async with cloud.server():
            await asyncio.wait_for(without_link(cloud), 3600)

    run(cloud.clock, main())


async def without_link(cloud: Cloud) -> None:
    client = await prepare(cloud)
    zone = await build(client, hosts=1)
    await furnish(cloud, zone)
    offering = await client.ask("createServiceOffering", name="g", displaytext="g", cpunumber=1, cpuspeed=500, memory=128)
    web = await client.ask("createSecurityGroup", name="web")
    await client.job("deployVirtualMachine", zoneid=zone["id"], serviceofferingid=offering["id"], name="one",
                     templateid="5b0f2f3c-0000-4000-8000-000000000001", securitygroupids=web["id"])  # fmt: skip
    (host_id,) = cloud.earth.hosts
    cloud.cut_link(host_id, 30)
    accepted = await client.ask("authorizeSecurityGroupIngress", securitygroupid=web["id"], cidrlist="10.0.0.0/8")
    await cloud.clock.sleep(5)
    assert [0] == rules_on(cloud, web["id"])
    over = sa.select(tables.job.c.status).where(tables.job.c.uuid == accepted["jobid"])
    await cloud.until(lambda tx: tx.value(over) == 1)
    assert [1] == rules_on(cloud, web["id"])


def test_a_change_that_a_server_did_not_live_to_tell_is_told_by_the_next_one():
    cloud = Cloud()

    async def main() -> None:
        async with cloud.world():
            async with cloud.running_server():
                client = await prepare(cloud)
                zone = await build(client, hosts=1)
                await furnish(cloud, zone)
                offering = await client.ask(
                    "createServiceOffering", name="g", displaytext="g", cpunumber=1, cpuspeed=500, memory=128
                )
                web = await client.ask("createSecurityGroup", name="web")
                await client.job("deployVirtualMachine", zoneid=zone["id"], serviceofferingid=offering["id"], name="one",
                                 templateid="5b0f2f3c-0000-4000-8000-000000000001", securitygroupids=web["id"])  # fmt: skip
                accepted = await client.ask("authorizeSecurityGroupIngress", securitygroupid=web["id"], cidrlist="10.0.0.0/8")
            assert [0] == rules_on(cloud, web["id"])
            async with cloud.running_server():
                await cloud.until(lambda _: rules_on(cloud, web["id"]) == [1])
                over = sa.select(tables.job.c.status).where(tables.job.c.uuid == accepted["jobid"])
                await cloud.until(lambda tx: tx.value(over) == 1)

    run(cloud.clock, main())
