"""A zone on three pretended hosts, built through the API as an operator would; and what is asked of it in every story."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sysvm.cli.client import ApiError, Client, Keys
from sysvm.cli.demo import tenant, zone
from sysvm.cli.demo.places import Places
from tests.boot.patience import NotYet, until
from tests.cluster.hosts import Hosts
from tests.cluster.servers import Server, answered

HOSTS = 3
Json = dict[str, Any]


class Ground:
    """Servers, their hosts, and an admin with a network to put guests into."""

    def __init__(self, servers: Sequence[Server], hosts: Hosts, keys: Keys, zone_id: str) -> None:
        self.servers = servers
        self.hosts = hosts
        self.keys = keys
        self.zone = zone_id
        self.template = ""
        self.network = ""
        self.offering = ""
        self._number = 0

    def client(self, server: Server) -> Client:
        """The admin at this server."""
        return server.client(self.keys)

    def links(self, client: Client) -> Counter[str]:
        """How many hosts each server holds, by its UUID."""
        return Counter(row.get("managementserverid", "") for row in client.rows("listHosts", "host", type="Routing"))

    def deploy(self, client: Client, count: int) -> dict[str, str]:
        """Asks for guests; their jobs, by the guests' names."""
        jobs = {}
        for _ in range(count):
            self._number += 1
            name = f"g{self._number}"
            accepted = client.call("deployVirtualMachine", name=name, serviceofferingid=self.offering, zoneid=self.zone,
                                   templateid=self.template, networkids=self.network)  # fmt: skip
            jobs[name] = accepted["jobid"]
        return jobs

    def unfinished(self, client: Client, jobs: dict[str, str]) -> list[str]:
        """Names whose jobs still run. A job that failed fails the test."""
        found = []
        for name, job in jobs.items():
            seen = answered(client, "queryAsyncJobResult", jobid=job)
            assert seen["jobstatus"] != 2, f"{name}: {seen}"
            if seen["jobstatus"] == 0:
                found.append(name)
        return found

    def all_end(self, client: Client, jobs: dict[str, str]) -> None:
        """Every job comes to a good end."""
        left = dict(jobs)

        def none_left() -> bool:
            for name in set(left) - set(self.unfinished(client, left)):
                del left[name]
            if left:
                raise NotYet(f"still run: {sorted(left)}")
            return True

        until(none_left, "all jobs end", lambda: (len(left), self.hosts.moved()))

    def nothing_is_doubled(self, client: Client, jobs: dict[str, str]) -> None:
        """Each guest is one row with addresses of its own, on one host, in one incarnation, started once, told of once."""
        rows = [row for row in client.rows("listVirtualMachines", "virtualmachine", listall="true")
                if row["name"] in jobs]  # fmt: skip
        assert sorted(jobs) == sorted(row["name"] for row in rows)
        assert {"Running"} == {row["state"] for row in rows}
        addresses = [row["nic"][0]["ipaddress"] for row in rows]
        assert len(addresses) == len(set(addresses))
        lives: dict[str, list[tuple[int, bool, int]]] = {}
        for machine, *life in self.hosts.everywhere():
            lives.setdefault(machine, []).append(tuple(life))  # type: ignore[arg-type]
        assert {row["id"]: [(1, True, 1)] for row in rows} == {row["id"]: lives.get(row["id"]) for row in rows}
        created = Counter(
            row.get("resourceid")
            for row in client.rows("listEvents", "event", type="VM.CREATE", listall="true", page=1, pagesize=500)
            if row["state"] == "Completed"
        )
        assert {row["id"]: 1 for row in rows} == {row["id"]: created[row["id"]] for row in rows}

    def fences_rose(self) -> None:
        """No host has done an act with a lower fence than one that it had done about the same machine."""
        for host in self.hosts.all:
            highest: dict[str, int] = {}
            for machine, fence, act in list(host.acts):
                assert fence >= highest.get(machine, 0), (machine, fence, act)
                highest[machine] = fence


def build(servers: Sequence[Server], hosts: Hosts, folder: Path) -> Ground:
    """A zone that can take guests. The first server has made the cloud."""
    keys = servers[0].admin_keys()
    client = servers[0].client(keys)
    places = Places(str(folder), 77, 0, 0)
    client.call("updateConfiguration", name="secstorage.allowed.internal.sites", value="10.77.0.0/24")
    row = zone.make_zone(client, places)
    zone.make_physical_network(client, row["id"])
    pod = zone.make_pod(client, row["id"], places)["id"]
    zone.make_public_range(client, row["id"], places)
    _add_hosts(client, hosts, servers, row["id"], pod, folder)
    client.call("updateZone", id=row["id"], allocationstate="Enabled")
    ground = Ground(servers, hosts, keys, row["id"])
    ground.offering = client.call("createServiceOffering", name="tiny", displaytext="tiny", cpunumber=1, cpuspeed=100,
                                  memory=128)["serviceoffering"]["id"]  # fmt: skip
    ground.network = tenant.make_network(client, row["id"])["id"]
    template = tenant.register_template(client, row["id"], "KVM", "http://10.77.0.1:8000/tiny.qcow2", "")
    until(lambda: _is_ready(client, row["id"], template["id"]), "the template", hosts.moved)
    ground.template = template["id"]
    return ground


def _add_hosts(client: Client, hosts: Hosts, servers: Sequence[Server], zone_id: str, pod: str, folder: Path) -> None:
    made = client.call("addCluster", clustername="c", clustertype="CloudManaged", hypervisor="KVM", podid=pod,
                       zoneid=zone_id)  # fmt: skip
    cluster = made["cluster"][0]["id"]
    for number in range(HOSTS):
        added = client.call("addHost", clusterid=cluster, hypervisor="KVM", podid=pod, zoneid=zone_id,
                            url=f"http://10.77.1.{number + 2}")["host"][0]  # fmt: skip
        hosts.join(added["details"]["join"], [server.hub for server in servers])
        until(lambda id_=added["id"]: _is_up(client, id_), "a host", hosts.moved)  # type: ignore[misc]
        client.call("createStoragePool", name=f"p{number}", zoneid=zone_id, podid=pod, clusterid=cluster,
                    hostid=added["id"], scope="HOST",
                    url=f"file://10.77.1.{number + 2}{folder}/primary")  # fmt: skip
    client.call("addImageStore", name="s", zoneid=zone_id, provider="SysvmDirectory", url=f"file://{folder}/secondary")


def _is_up(client: Client, host: str) -> bool:
    (row,) = client.rows("listHosts", "host", id=host)
    return bool(row["state"] == "Up")


def _is_ready(client: Client, zone_id: str, template: str) -> bool:
    (row,) = client.rows("listTemplates", "template", templatefilter="self", zoneid=zone_id, id=template)
    return bool(row["isready"])


def refusal(client: Client, command: str, **params: object) -> ApiError | None:
    """What this call is refused with, or None."""
    try:
        client.call(command, **params)
    except ApiError as error:
        return error
    return None
