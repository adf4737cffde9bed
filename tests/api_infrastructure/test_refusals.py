"""Bad input gets the right code and a sentence that says what to do, and leaves nothing half-made."""

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from sysvm.store import tables
from tests.api.stage import refusal
from tests.api_infrastructure.cloud import POD, PUBLIC, Cloud, make_physical_network, make_zone

Params = Callable[[Cloud], dict[str, Any]]
RESOLVERS = {"dns1": "192.0.2.53", "internaldns1": "192.0.2.53"}
ZONE = {"name": "z2", "networktype": "Advanced", **RESOLVERS}


def zone(**params: Any) -> Params:
    return lambda _cloud: {**ZONE, **params}


def in_zone(**params: Any) -> Params:
    return lambda cloud: {"zoneid": cloud.zone["id"], **params}


def public(**params: Any) -> Params:
    return in_zone(forvirtualnetwork=True, **{**PUBLIC, "startip": "203.0.113.30", "endip": "203.0.113.40", **params})


def pod(**params: Any) -> Params:
    other = {"gateway": "172.18.0.1", "netmask": "255.255.255.0", "startip": "172.18.0.10", "endip": "172.18.0.20"}
    return in_zone(**{"name": "pod2", **other, **params})


def host(**params: Any) -> Params:
    def given(cloud: Cloud) -> dict[str, Any]:
        there = {"zoneid": cloud.zone["id"], "podid": cloud.pod["id"], "clusterid": cloud.cluster["id"]}
        return {**there, "hypervisor": "Simulator", "url": "http://host2", **params}

    return given


def cluster(**params: Any) -> Params:
    def given(cloud: Cloud) -> dict[str, Any]:
        there = {"zoneid": cloud.zone["id"], "podid": cloud.pod["id"], "clustertype": "CloudManaged"}
        return {**there, "clustername": "c2", "hypervisor": "KVM", **params}

    return given


def pool(**params: Any) -> Params:
    def given(cloud: Cloud) -> dict[str, Any]:
        there = {"zoneid": cloud.zone["id"], "podid": cloud.pod["id"], "clusterid": cloud.cluster["id"]}
        return {**there, "name": "p2", "url": "file:///srv/p2", **params}

    return given


def template(**params: Any) -> Params:
    given = {"name": "t", "format": "QCOW2", "hypervisor": "KVM", "url": "http://example.org/t.qcow2"}
    return in_zone(**{**given, **params})


def offering(**params: Any) -> Params:
    return lambda _cloud: {"name": "o", "displaytext": "o", "cpunumber": 1, "cpuspeed": 500, "memory": 512, **params}


def network_offering(**params: Any) -> Params:
    return lambda _cloud: {"name": "n", "displaytext": "n", "guestiptype": "Isolated", "traffictype": "GUEST", **params}


def of(attribute: str, **params: Any) -> Params:
    return lambda cloud: {"id": getattr(cloud, attribute)["id"], **params}


REFUSED: list[tuple[str, Params, int, str]] = [
    ("createZone", zone(networktype="Medium"), 431, "Basic or Advanced"),
    ("createZone", zone(networktype="Basic", guestcidraddress="10.1.1.0/24"), 431, "guestCidrAddress"),
    ("createZone", zone(isedge=True), 431, "Edge"),
    ("createZone", zone(name="ZONE1"), 431, "already exists"),
    ("createZone", zone(name="  "), 431, "name"),
    ("createZone", zone(dns1="no.such"), 431, "valid IP address for dns1"),
    ("createZone", zone(internaldns2="300.1.1.1"), 431, "internaldns2"),
    ("createZone", zone(guestcidraddress="8.8.8.0/24"), 431, "not a private one"),
    ("createZone", zone(guestcidraddress="10.1.1.0/31"), 431, "too small"),
    ("createZone", zone(guestcidraddress="ten"), 431, "guest cidr"),
    ("createZone", zone(domain="-bad-.example"), 431, "network domain"),
    ("createZone", zone(allocationstate="Sleepy"), 431, "Allocation State"),
    ("updateZone", of("zone", **{"details[0].enable.secstorage.vm": "perhaps"}), 431, "true or false"),
    ("updateZone", of("zone", dns1=""), 431, "can't be empty"),
    ("updateZone", of("zone", dhcpprovider="ExternalDhcp"), 431, "VirtualRouter"),
    ("createPod", pod(name="POD1"), 431, "already exists"),
    ("createPod", pod(gateway=None), 431, "gateway"),
    ("createPod", pod(netmask="255.0.255.0"), 431, "netmask"),
    ("createPod", pod(netmask="0.0.0.255"), 431, "netmask"),
    ("createPod", pod(startip="172.19.0.1"), 431, "not in the subnet"),
    ("createPod", pod(startip="172.18.0.0"), 431, "network or broadcast"),
    ("createPod", pod(startip="172.18.0.30", endip="172.18.0.20"), 431, "comes after"),
    ("createPod", pod(startip="172.18.0.1", endip="172.18.0.20"), 431, "gateway"),
    ("createPod", pod(gateway="fd00::1"), 431, "IPv4"),
    ("createPod", pod(**POD), 431, "overlaps the management range 172.16.0.10-172.16.0.50 of zone zone1"),
    ("createPod", pod(**PUBLIC), 431, "overlaps the public range"),
    ("createPod", pod(**{**PUBLIC, "startip": "203.0.113.100", "endip": "203.0.113.110"}), 431, "different subnets"),
    ("createVlanIpRange", public(startip="203.0.113.15", endip="203.0.113.25"), 431, "overlaps the public range"),
    ("createVlanIpRange", public(vlan="5000"), 431, "VLAN"),
    ("createVlanIpRange", public(vlan="many"), 431, "VLAN"),
    ("createVlanIpRange", public(startip=None), 431, "startip"),
    ("createVlanIpRange", public(gateway="198.18.0.1", netmask="255.254.0.0", startip="198.18.0.2", endip="198.19.255.250"),
     431, "at most 65536"),
    ("createVlanIpRange", public(startipv6="2001:db8::1", ip6gateway="2001:db8::2"), 431, "IPv6"),
    ("createVlanIpRange", in_zone(forvirtualnetwork=False, **PUBLIC), 431, "networkid"),
    ("createVlanIpRange", public(zoneid=None), 431, "zoneid"),
    ("createVlanIpRange", public(forsystemvms=True, account="admin"), 431, "not both"),
    ("addCluster", cluster(clustername="c1"), 431, "already exists"),
    ("addCluster", cluster(hypervisor="XenServer"), 431, "supported are KVM, LXC, Simulator"),
    ("addCluster", cluster(hypervisor="VMware"), 431, "simulator only"),
    ("addCluster", cluster(clustertype="ExternalManaged"), 431, "CloudManaged"),
    ("addHost", host(url="http://host1"), 431, "already added"),
    ("addHost", host(url="http://user:secret@host2"), 431, "name"),
    ("addHost", host(hypervisor="KVM"), 431, "runs Simulator"),
    ("addHost", host(clusterid=None), 431, "cluster id or name"),
    ("addHost", host(clustername="c1"), 431, "both id and name"),
    ("addHost", host(allocationstate="Sleepy"), 431, "Enable or Disable"),
    ("updateHost", of("host", url="http://other"), 431, "can't change"),
    ("cancelHostMaintenance", of("host"), 431, "not in maintenance"),
    ("createStoragePool", pool(name="primary1"), 431, "already exists"),
    ("createStoragePool", pool(url="rbd://server/export"), 431, "Ceph RBD is not supported yet"),
    ("createStoragePool", pool(url="nfs://server"), 431, "no export"),
    ("createStoragePool", pool(url="SharedMountPoint://localhost/mnt"), 431, "shared mount point"),
    ("createStoragePool", pool(url="rbd://user:key@mon/pool"), 431, "RBD"),
    ("createStoragePool", pool(url="http://server/x"), 431, "not understood"),
    ("createStoragePool", pool(url="file:///etc"), 431, "belongs to the system"),
    ("createStoragePool", pool(url="file:///srv/../etc"), 431, "upward"),
    ("createStoragePool", pool(url="file://nobody/srv/p2"), 431, "host nobody"),
    ("createStoragePool", pool(url="file:///srv/primary"), 431, "primary storage already"),
    ("createStoragePool", pool(scope="REGION"), 431, "scope"),
    ("createStoragePool", pool(clusterid=None, podid=None), 431, "clusterid"),
    ("createStoragePool", pool(managed=True), 431, "Managed"),
    ("createStoragePool", pool(provider="SolidFire"), 431, "DefaultPrimary"),
    ("deleteStoragePool", of("pool"), 431, "enableStorageMaintenance"),
    ("cancelStorageMaintenance", of("pool"), 431, "not in Maintenance"),
    ("addImageStore", in_zone(provider="S3", url="s3://bucket"), 431, "has no url"),
    ("addImageStore", in_zone(provider="S3"), 431, "needs the detail accesskey"),
    ("addImageStore", in_zone(provider="Swift", url="swift://x"), 431, "Swift are not supported yet"),
    ("addImageStore", in_zone(provider="Floppy", url="file:///x"), 431, "Floppy"),
    ("addImageStore", in_zone(provider="NFS", url="http://server/x"), 431, "nfs://<server>/<export>"),
    ("addImageStore", in_zone(provider="NFS", url="nfs://server"), 431, "no export"),
    ("addImageStore", in_zone(provider="NFS", url="nfs://u:p@server/x"), 431, "credentials"),
    ("addImageStore", in_zone(provider="Filesystem", url="file:///srv/images"), 431, "already"),
    ("addImageStore", in_zone(provider="Filesystem"), 431, "url"),
    ("addImageStore", lambda _cloud: {"provider": "NFS", "url": "nfs://server/x"}, 431, "zoneid"),
    ("updateImageStore", of("store"), 431, "readonly"),
    ("registerTemplate", template(hypervisor="Hyper-V"), 431, "supported"),
    ("registerTemplate", template(format="OVA"), 431, "it takes QCOW2"),
    ("registerTemplate", template(hypervisor="LXC"), 431, "it takes TAR"),
    ("registerTemplate", template(url="http://user:secret@example.org/t.qcow2"), 431, "credentials"),
    ("registerTemplate", template(url="gopher://example.org/t.qcow2"), 431, "not understood"),
    ("registerTemplate", template(url="http:///t.qcow2"), 431, "no server"),
    ("registerTemplate", template(url="http://example.org:port/t.qcow2"), 431, "no server"),
    ("registerTemplate", template(url="http://example.org/a b.qcow2"), 431, "blanks"),
    ("registerTemplate", template(url="http://example.org/t\x07.qcow2"), 431, "non-printable"),
    ("registerTemplate", template(url="http://example.org/t.iso"), 431, "ends in .iso"),
    ("registerTemplate", template(url="file:///../../etc/shadow"), 431, "import folder"),
    ("registerTemplate", template(url="nfs://server/a.qcow2?hard"), 431, "dead server"),
    ("registerTemplate", template(checksum="abc"), 431, "checksum"),
    ("registerTemplate", template(checksum="{SHA-256}" + "a" * 40), 431, "SHA-256"),
    ("registerTemplate", template(checksum="z" * 32), 431, "checksum"),
    ("registerTemplate", template(bits=16), 431, "32 or 64"),
    ("registerTemplate", template(templatetype="ODD"), 431, "template type"),
    ("registerTemplate", template(zoneid=None), 431, "zoneids"),
    ("registerTemplate", template(directdownload=True), 431, "Direct download"),
    ("registerTemplate", template(name="x" * 300), 431, "greater than maximum"),
    ("registerIso", in_zone(name="i", url="http://example.org/i.qcow2"), 431, "ends in .qcow2"),
    ("listTemplates", lambda _cloud: {"templatefilter": "mine"}, 431, "template filter"),
    ("createServiceOffering", offering(issystem=True, systemvmtype="firewall"), 431, "Invalid systemVmType"),
    ("createServiceOffering", offering(issystem=True, customized=True, cpunumber=None, memory=None), 431, "customized"),
    ("createServiceOffering", offering(issystem=True, systemvmtype="consoleproxy", networkrate=10), 431, "Network rate"),
    ("createServiceOffering", offering(issystem=True, customizediops=True), 431, "IOPS"),
    ("createServiceOffering", offering(memory=8), 431, "between 32"),
    ("createServiceOffering", offering(cpunumber=0), 431, "between 1"),
    ("createServiceOffering", offering(cpuspeed=None), 431, "cpuspeed"),
    ("createServiceOffering", offering(customized=True), 431, "custom compute"),
    ("createServiceOffering", offering(customized=True, cpunumber=None, memory=None, mincpunumber=4, maxcpunumber=2), 431,
     "not more than"),
    ("createServiceOffering", offering(storagetype="tape"), 431, "storage type"),
    ("createServiceOffering", offering(encryptroot=True), 431, "not supported yet"),
    ("createDiskOffering", lambda _cloud: {"name": "d", "displaytext": "d"}, 431, "Disksize is required"),
    ("createDiskOffering", lambda _cloud: {"name": "d", "disksize": 5, "customized": True}, 431, "not allowed"),
    ("createDiskOffering", lambda _cloud: {"name": "d", "disksize": 10**9}, 431, "disk size"),
    ("createNetworkOffering", network_offering(name="DefaultSharedNetworkOffering"), 431, "already exists"),
    ("createNetworkOffering", network_offering(guestiptype="Odd"), 431, "Shared, Isolated and L2"),
    ("createNetworkOffering", network_offering(traffictype="Public"), 431, "Guest"),
    ("createNetworkOffering", network_offering(supportedservices="Dhcp,Teleport"), 431, "Teleport"),
    ("createNetworkOffering", network_offering(supportedservices="Dhcp", serviceproviderlist__0__service="Dhcp",
     serviceproviderlist__0__provider="Netscaler"), 431, "Netscaler"),
    ("createNetworkOffering", network_offering(supportedservices="Dhcp", serviceproviderlist__0__service="Dns",
     serviceproviderlist__0__provider="VirtualRouter"), 431, "not enabled"),
    ("createNetworkOffering", network_offering(supportedservices="NetworkACL"), 431, "VPC only"),
    ("createNetworkOffering", network_offering(supportedservices="Firewall", forvpc=True), 431, "NetworkACL"),
    ("createNetworkOffering", network_offering(guestiptype="Shared"), 431, "SpecifyVlan"),
    ("createNetworkOffering", network_offering(specifyipranges=True), 431, "SpecifyIpRanges"),
    ("createNetworkOffering", network_offering(internetprotocol="ipv6"), 431, "ipv4 or dualstack"),
    ("createNetworkOffering", network_offering(internetprotocol="dualstack"), 431, "ipv6.offering.enabled"),
    ("createNetworkOffering", network_offering(supportedservices="SourceNat",
     servicecapabilitylist__0__service="SourceNat", servicecapabilitylist__0__capabilitytype="Colour",
     servicecapabilitylist__0__capabilityvalue="red"), 431, "can't be chosen"),
    ("createNetworkOffering", network_offering(supportedservices="SourceNat",
     servicecapabilitylist__0__service="SourceNat", servicecapabilitylist__0__capabilitytype="RedundantRouter",
     servicecapabilitylist__0__capabilityvalue="maybe"), 431, "true or false"),
    ("createVPCOffering", lambda _cloud: {"name": "v", "supportedservices": "Dhcp,Telepathy"}, 431, "Telepathy"),
    ("createPhysicalNetwork", in_zone(name="physical1"), 431, "already exists"),
    ("createPhysicalNetwork", in_zone(name="p2", isolationmethods="GRE"), 431, "VXLAN or VLAN"),
    ("createPhysicalNetwork", in_zone(name="p2", isolationmethods="VLAN", vlan="100-5000"), 431, "between 1 and 4094"),
    ("createPhysicalNetwork", in_zone(name="p2", vlan="200-100"), 431, "must rise"),
    ("createPhysicalNetwork", in_zone(name="p2", vlan="ten"), 431, "valid vlan range"),
    ("createPhysicalNetwork", in_zone(name="p2", vlan="5500-6500"), 431, "overlaps 5000-5999"),
    ("updatePhysicalNetwork", of("physical", state="Odd"), 431, "Enabled or Disabled"),
    ("addTrafficType", lambda cloud: {"physicalnetworkid": cloud.physical["id"], "traffictype": "Odd"}, 431, "Odd"),
    ("addTrafficType", lambda cloud: {"physicalnetworkid": cloud.physical["id"], "traffictype": "Public"}, 431, "already"),
    ("addNetworkServiceProvider", lambda cloud: {"physicalnetworkid": cloud.physical["id"], "name": "VirtualRouter"}, 431,
     "already exists"),
    ("addNetworkServiceProvider", lambda cloud: {"physicalnetworkid": cloud.physical["id"], "name": "Netscaler"}, 431,
     "Netscaler"),
    ("configureVirtualRouterElement", lambda _cloud: {"id": "7f9de5a0-0000-4000-8000-000000000000", "enabled": True}, 431,
     "entity does not exist"),
    ("listStorageProviders", lambda _cloud: {"type": "tape"}, 431, "primary or image"),
]  # fmt: skip
COUNTED = (
    tables.zone, tables.pod, tables.cluster, tables.host, tables.ip_range, tables.public_ip, tables.physical_network,
    tables.traffic_type, tables.service_provider, tables.storage_pool, tables.image_store, tables.template,
    tables.template_copy, tables.service_offering, tables.disk_offering, tables.network_offering, tables.vpc_offering,
    tables.host_token, tables.task,
)  # fmt: skip


async def counted(cloud: Cloud) -> dict[str, int]:
    """How many rows there are."""
    return await cloud.stage.store.read(
        lambda tx: {table.name: tx.value(sa.select(sa.func.count()).select_from(table)) for table in COUNTED}
    )


@pytest.mark.parametrize(("command", "params", "status", "text"), REFUSED, ids=[f"{row[0]}-{row[3]}" for row in REFUSED])
async def test_bad_input_is_refused_and_leaves_nothing(cloud: Cloud, command: str, params: Params, status: int, text: str):
    """The right code, a sentence that helps, and not one row more."""
    before = await counted(cloud)
    with refusal(status, text):
        await cloud.admin(command, **params(cloud))
    assert before == await counted(cloud)


async def test_a_second_zone_can_not_have_the_same_public_range(cloud: Cloud):
    """Public addresses are given out once, whatever the zone and VLAN."""
    second = await make_zone(cloud.stage, "zone2")
    await make_physical_network(cloud.admin, second["id"])
    for vlan in ("untagged", "100"):
        with refusal(431, "of zone zone1"):
            await cloud.admin("createVlanIpRange", zoneid=second["id"], forvirtualnetwork=True, vlan=vlan, **PUBLIC)
    with refusal(431, "of zone zone1"):
        await cloud.admin("createPod", zoneid=second["id"], name="pod1", **POD)


async def test_a_public_vlan_may_not_be_one_of_guests(cloud: Cloud):
    """A VLAN that guest networks draw from is refused for a public range, and the other way round."""
    zone = await make_zone(cloud.stage, "zone2")
    await make_physical_network(cloud.admin, zone["id"], isolationmethods="VLAN", vlan="100-199")
    other = {"gateway": "198.51.100.1", "netmask": "255.255.255.0", "startip": "198.51.100.5", "endip": "198.51.100.9"}
    with refusal(431, "already being used for dynamic vlan allocation"):
        await cloud.admin("createVlanIpRange", zoneid=zone["id"], forvirtualnetwork=True, vlan="vlan://150", **other)
    row = await cloud.admin("createVlanIpRange", zoneid=zone["id"], forvirtualnetwork=True, vlan="200", **other)
    assert "vlan://200" == row["vlan"]
    (physical,) = await cloud.admin("listPhysicalNetworks", zoneid=zone["id"])
    with refusal(431, "The VLAN 200 of a public range"):
        await cloud.admin("updatePhysicalNetwork", id=physical["id"], vlan="100-299")


async def test_a_vlan_that_no_host_can_use_is_told(cloud: Cloud):
    """Kernels without 802.1Q are known once hosts have connected; before that nothing is assumed."""
    other = {"gateway": "198.51.100.1", "netmask": "255.255.255.0", "startip": "198.51.100.5", "endip": "198.51.100.9"}
    await cloud.change(tables.host, cloud.host["id"], facts={"name": "host1", "features": ["esp"]})
    with refusal(431, "no 802.1Q"):
        await cloud.admin("createVlanIpRange", zoneid=cloud.zone["id"], forvirtualnetwork=True, vlan="100", **other)
    await cloud.admin.job("createPhysicalNetwork", zoneid=cloud.zone["id"], name="p2", isolationmethods="VLAN", vlan="100-199")
    names = await cloud.stage.store.read(lambda tx: [row.subject for row in tx.all(sa.select(tables.alert))])
    assert ["Physical network p2 isolates with VLANs, but no host of zone zone1 can"] == names


async def test_a_range_in_use_stays(cloud: Cloud):
    """Neither deleting nor shrinking takes an address away from somebody."""
    await cloud.stage.store.run(
        lambda tx: tx.change(sa.update(tables.public_ip).where(tables.public_ip.c.id == 3).values(state="Allocated"))
    )
    with refusal(536, "1 of its addresses are in use"):
        await cloud.admin("deleteVlanIpRange", id=cloud.public["id"])
    with refusal(536, "would be outside"):
        await cloud.admin("updateVlanIpRange", id=cloud.public["id"], startip="203.0.113.13")
    row = await cloud.admin("updateVlanIpRange", id=cloud.public["id"], startip="203.0.113.11", endip="203.0.113.25")
    assert ("203.0.113.11", "203.0.113.25") == (row["startip"], row["endip"])
    assert 15 == (await counted(cloud))["public_ip"]


async def test_users_may_not_build(cloud: Cloud):
    """Infrastructure is for administrators: 432, as for a command that does not exist."""
    user = await cloud.stage.user()
    for command in (
        "createZone",
        "addHost",
        "createVlanIpRange",
        "createServiceOffering",
        "listHosts",
        "addImageStore",
    ):
        with refusal(432):
            await user(command)
