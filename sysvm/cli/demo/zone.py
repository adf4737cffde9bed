"""The zone, through the API only, in the order in which CloudStack's clients build one. Every step may be repeated."""

from pathlib import Path

from sysvm.basics.errors import NotYet
from sysvm.cli.client import Client, Json
from sysvm.cli.demo.places import Places

NETMASK = "255.255.255.0"


def one(client: Client, command: str, key: str, name: str, **params: object) -> Json | None:
    """The row with exactly this name."""
    rows = client.rows(command, key, **params)
    return next((row for row in rows if row.get("name") == name), None)


def make_zone(client: Client, places: Places) -> Json:
    """The zone's row; disabled until it is complete."""
    found = one(client, "listZones", "zone", "demo")
    if found is not None:
        return found
    made = client.call(
        "createZone",
        name="demo",
        networktype="Advanced",
        dns1=places.outside,
        internaldns1=places.outside,
        guestcidraddress="10.1.1.0/24",
        localstorageenabled="true",
    )
    return dict(made["zone"])


def make_physical_network(client: Client, zone: str) -> None:
    """One physical network with management, guest and public traffic, and the virtual router as provider."""
    network = one(client, "listPhysicalNetworks", "physicalnetwork", "demo", zoneid=zone)
    if network is None:
        network = client.job("createPhysicalNetwork", name="demo", zoneid=zone)["physicalnetwork"]
    id_ = network["id"]
    have = {row["traffictype"] for row in client.rows("listTrafficTypes", "traffictype", physicalnetworkid=id_)}
    for traffic in ("Management", "Guest", "Public"):
        if traffic not in have:
            client.job("addTrafficType", traffictype=traffic, physicalnetworkid=id_)
    client.job("updatePhysicalNetwork", id=id_, state="Enabled")
    (provider,) = client.rows(
        "listNetworkServiceProviders", "networkserviceprovider", name="VirtualRouter", physicalnetworkid=id_
    )
    (element,) = client.rows("listVirtualRouterElements", "virtualrouterelement", nspid=provider["id"])
    client.job("configureVirtualRouterElement", id=element["id"], enabled="true")
    client.job("updateNetworkServiceProvider", id=provider["id"], state="Enabled")


def make_pod(client: Client, zone: str, places: Places) -> Json:
    """The pod with its management addresses."""
    found = one(client, "listPods", "pod", "demo", zoneid=zone)
    if found is not None:
        return found
    gateway, first, last = places.pod
    made = client.call("createPod", name="demo", zoneid=zone, gateway=gateway, netmask=NETMASK, startip=first, endip=last)
    return dict(made["pod"])


def make_public_range(client: Client, zone: str, places: Places) -> None:
    """Public addresses."""
    if client.rows("listVlanIpRanges", "vlaniprange", zoneid=zone, forvirtualnetwork="true"):
        return
    first, last = places.public_range
    client.call(
        "createVlanIpRange",
        zoneid=zone,
        forvirtualnetwork="true",
        gateway=places.outside,
        netmask=NETMASK,
        startip=first,
        endip=last,
        vlan="untagged",
    )


def make_host(client: Client, zone: str, pod: str, hypervisor: str, url: str) -> tuple[Json, str]:
    """The host's row, and the line that makes it join (empty when it has joined)."""
    cluster = one(client, "listClusters", "cluster", "demo", zoneid=zone)
    if cluster is None:
        made = client.call(
            "addCluster",
            clustername="demo",
            clustertype="CloudManaged",
            hypervisor=hypervisor,
            podid=pod,
            zoneid=zone,
        )
        cluster = made["cluster"][0]
    hosts = client.rows("listHosts", "host", zoneid=zone, type="Routing")
    if hosts:
        return hosts[0], ""
    added = client.call("addHost", clusterid=cluster["id"], hypervisor=hypervisor, podid=pod, zoneid=zone, url=url)
    row = added["host"][0]
    return row, row.get("details", {}).get("join", "")


def host_is_up(client: Client, host: str) -> Json:
    """The host's row once it is Up. Raises NotYet."""
    (row,) = client.rows("listHosts", "host", id=host)
    if row["state"] != "Up":
        raise NotYet(0, f"the host is {row['state']}")
    return row


def make_storage(client: Client, zone: str, pod: str, host: Json, folder: Path) -> None:
    """A directory of the host as primary storage, another one as image store."""
    if one(client, "listStoragePools", "storagepool", "demo-primary", zoneid=zone) is None:
        client.call(
            "createStoragePool",
            name="demo-primary",
            zoneid=zone,
            podid=pod,
            clusterid=host["clusterid"],
            hostid=host["id"],
            scope="HOST",
            url=f"file://{folder / 'primary'}",
        )
    if one(client, "listImageStores", "imagestore", "demo-secondary", zoneid=zone) is None:
        client.call(
            "addImageStore",
            name="demo-secondary",
            zoneid=zone,
            provider="SysvmDirectory",
            url=f"file://{folder / 'secondary'}",
        )


def system_vms_are_up(client: Client, zone: str) -> list[Json]:
    """Console proxy and secondary storage VM, once both run and their agents are up. Raises NotYet."""
    rows = client.rows("listSystemVms", "systemvm", zoneid=zone)
    up = [row for row in rows if row["state"] == "Running" and row.get("agentstate") == "Up"]
    if {row["systemvmtype"] for row in up} < {"consoleproxy", "secondarystoragevm"}:
        raise NotYet(0, ", ".join(f"{row['name']} is {row['state']}" for row in rows) or "none has been made yet")
    return up
