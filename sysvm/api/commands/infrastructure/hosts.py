"""Hosts: adding, listing, changing, emptying and removing them.

addHost writes a row and a one-time token; whoever runs the one line of its answer on the host makes it connect. With a
user name and password the server does that over ssh, outside of any transaction: a task row says what is to be done, its
password and token sealed. A simulated host connects by itself.

Nothing here talks to a host. That a host is empty, and so in maintenance, is for its turn to see.
"""

import json
import uuid
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from sysvm.api import errors
from sysvm.api.answers import hosts as answers
from sysvm.api.call import Accepted, Call, One, Reply, Rows, Success
from sysvm.api.commands.infrastructure.clusters import new_cluster, pod_in_zone
from sysvm.api.handlers import handler, result
from sysvm.api.listing import contains, list_rows, page, slice_rows
from sysvm.api.rules import places
from sysvm.basics.errors import Refused, Why
from sysvm.basics.ids import SystemIds
from sysvm.store import tables
from sysvm.store.queries import events, hosts, machines, nics, turns, zones
from sysvm.store.queries.events import About
from sysvm.store.queries.jobs import Part
from sysvm.store.store import Row, Tx
from sysvm.systemvms import maintenance
from sysvm.wire.machines import Traffic

SIMULATED = ("Simulator", "VMware")
INSTALL = "install-host"
INSTALL_DEADLINE_S = 900.0
ALLOCATION = {"enable": "Enabled", "enabled": "Enabled", "disable": "Disabled", "disabled": "Disabled"}
WAITING = "waiting for the host agent to connect"
_ids = SystemIds()


def _answer(tx: Tx, host_id: int) -> dict[str, Any]:
    row = tx.one(hosts.listing().where(tables.host.c.id == host_id))
    assert row is not None
    return answers.host(row, hosts.server_names(tx).get(row.link_session or ""))


# ---------------------------------------------------------------- adding
@handler("addHost")
def add_host(call: Call) -> Reply:
    """A new host, answered as a list of one, with the line that makes it connect."""
    zone, pod = pod_in_zone(call)
    cluster = _cluster(call, zone, pod)
    simulated = cluster.hypervisor in SIMULATED
    if simulated:
        address, port = places.simulated_address(call["url"]), None
    else:
        address, port = (url := places.host_url(call["url"])).address, url.port
    if (there := hosts.at_address(call.tx, address, port)) is not None:
        raise Refused(
            f"The host {address} is already added: it is host {there.name} ({there.uuid}) in state {there.state}. Remove it "
            "with deleteHost first, or reconnect it with reconnectHost"
        )
    state = _resource_state(call.get("allocationstate"))
    host_id = call.tx.insert(
        tables.host,
        uuid=call.ids.uuid(),
        name=address,
        zone_id=zone.id,
        pod_id=pod.id,
        cluster_id=cluster.id,
        hypervisor=cluster.hypervisor,
        address=address if port is None else f"{address}:{port}",
        state="Connecting",
        resource_state=state or "Enabled",
        tags=places.tags(call.get("hosttags")),
        why=WAITING,
        created=call.now,
    )
    answer = _first_contact(call, host_id, address, port, simulated=simulated)
    turns.wish(call.tx, "host", host_id, host=host_id)
    zones.changed(call.tx, zone.id)
    about = About("Host", host_id, answer["id"], address)
    events.record(call.tx, "HOST.ADD", f"Added host {address} to cluster {cluster.name}", actor=call.caller.actor, about=about)
    return Rows([answer], 1)


def _cluster(call: Call, zone: Row, pod: Row) -> Row:
    """The cluster by id or name; a name that the pod does not have yet makes a cluster."""
    cluster = call.row(tables.cluster, "clusterid")
    name = (call.get("clustername") or "").strip()
    if cluster is not None and name:
        raise Refused("Can't specify cluster by both id and name")
    if cluster is None and not name:
        raise Refused("Must specify cluster id or name when adding a host")
    if cluster is None:
        cluster = zones.named(call.tx, tables.cluster, name, tables.cluster.c.pod_id == pod.id)
    if cluster is None:
        cluster_id = new_cluster(call, zone, pod, name, places.hypervisor(call["hypervisor"]))
        cluster = call.tx.get(tables.cluster, cluster_id)
        assert cluster is not None
    if cluster.pod_id != pod.id:
        raise Refused(f"The cluster {cluster.name} is not in pod {pod.name}")
    wanted = places.hypervisor(call["hypervisor"], simulated=cluster.hypervisor == "VMware")
    if wanted != cluster.hypervisor:
        raise Refused(f"The cluster {cluster.name} runs {cluster.hypervisor}; a host of {wanted} can't be in it")
    return cluster


def _first_contact(call: Call, host_id: int, address: str, port: int | None, *, simulated: bool) -> dict[str, Any]:
    """The answer of the new host, with what has to be run on it when nobody else does."""
    user, password = call.get("username"), call.get("password")
    if simulated:
        return _answer(call.tx, host_id)
    token = call.ids.token()
    hosts.issue_token(call.tx, host_id, token)
    line = join_line(call.tx, token)
    answer = _answer(call.tx, host_id)
    answer["details"] = {**answer.get("details", {}), "join": line}
    if not user or not password:
        return answer
    secret = {"password": call.vault.seal(password), "join": call.vault.seal(line)}
    body = {"host": answer["id"], "address": address, "port": port or 22, "username": user, **secret}
    task_id = call.tx.insert(
        tables.task,
        uuid=call.ids.uuid(),
        kind=INSTALL,
        body=json.dumps(body),
        deadline=call.now + INSTALL_DEADLINE_S,
        created=call.now,
    )
    turns.wish(call.tx, "task", task_id)
    call.tx.update(tables.host, host_id, why="the host agent is being installed over ssh")
    return {**answer, "username": user}


def join_line(tx: Tx, token: str) -> str:
    """What to run on the host, within the hour."""
    given = " ".join(f"--server {server}" for server in hosts.servers(tx))
    return f"sysvm agent join {given} --token {token}@{hosts.ca_fingerprint(tx)}"


def _resource_state(text: str | None) -> str | None:
    if not text:
        return None
    found = ALLOCATION.get(text.strip().lower())
    if found is None:
        raise Refused(f"Unable to resolve Allocation State '{text}' to a supported state: Enable or Disable")
    return found


# ---------------------------------------------------------------- listing
@handler("listHosts")
def list_hosts(call: Call) -> Reply:
    """Hosts, and system VMs whose agents are up: clients find the latter here by their name."""
    kind = (call.get("type") or "").strip()
    system = {shown.lower(): kind_ for kind_, shown in hosts.SYSTEM_KINDS.items()}
    if kind and kind.lower() != "routing" and kind.lower() not in system:
        return Rows([], 0)
    if kind.lower() == "routing":
        return _routing(call)
    machine_rows = _system_vms(call, system.get(kind.lower()))
    if kind:
        return slice_rows(call, machine_rows)
    if "id" in call and machine_rows:
        return slice_rows(call, machine_rows)
    first = _routing(call)
    offset, limit = page(call)
    start = max(0, offset - first.count)
    room = None if limit is None else max(0, limit - len(first.rows))
    rest = machine_rows[start:] if room is None else machine_rows[start : start + room]
    return Rows([*first.rows, *rest], first.count + len(machine_rows))


def _routing(call: Call) -> Rows:
    host = tables.host
    statement = hosts.listing()
    if call.get("hahost"):
        statement = statement.where(sa.false())
    guest = call.row(tables.machine, "virtualmachineid")
    if guest is not None and guest.host_id is not None:
        statement = statement.where(host.c.id != guest.host_id, host.c.zone_id == guest.zone_id)
    servers = hosts.server_names(call.tx)

    def answer(_tx: Tx, rows: Any) -> list[dict[str, Any]]:
        return [answers.host(row, servers.get(row.link_session or "")) for row in rows]

    equal = {
        "name": host.c.name,
        "state": host.c.state,
        "resourcestate": host.c.resource_state,
        "hypervisor": host.c.hypervisor,
    }
    refs = {
        "zoneid": (tables.zone, host.c.zone_id),
        "podid": (tables.pod, host.c.pod_id),
        "clusterid": (tables.cluster, host.c.cluster_id),
    }
    keyword = (host.c.name, host.c.state, host.c.address)
    return list_rows(call, statement, host, answer, equal=equal, refs=refs, keyword=keyword)


def _system_vms(call: Call, kind: str | None) -> list[dict[str, Any]]:
    """Few even in a big cloud, so they are read whole."""
    machine = tables.machine
    if call.get("clusterid") or call.get("virtualmachineid") or call.get("hahost"):
        return []
    if (call.get("state") or "Up") != "Up" or (call.get("resourcestate") or "Enabled") != "Enabled":
        return []
    statement = hosts.system_vms()
    for name, column in (("id", machine.c.uuid), ("name", machine.c.name), ("hypervisor", machine.c.hypervisor)):
        if call.get(name):
            statement = statement.where(column == call[name])
    if (zone := call.row(tables.zone, "zoneid")) is not None:
        statement = statement.where(machine.c.zone_id == zone.id)
    if (pod := call.row(tables.pod, "podid")) is not None:
        statement = statement.where(tables.pod.c.id == pod.id)
    if kind is not None:
        statement = statement.where(machine.c.kind == kind)
    if word := call.get("keyword"):
        statement = statement.where(contains(machine.c.name, word))
    rows = call.tx.all(statement)
    found = nics.of_machines(call.tx, [row.id for row in rows])
    return [answers.system_vm(row, _management_address(found.get(row.id, []))) for row in rows]


def _management_address(held: Sequence[nics.NicRow]) -> str | None:
    return next((nic.primary.text for nic in held if nic.traffic == Traffic.MANAGEMENT and nic.primary), None)


@handler("listHostTags")
def list_host_tags(call: Call) -> Reply:
    """Every tag of every host."""
    word = (call.get("keyword") or "").lower()
    rows = [{"id": f"{id_}-{tag}", "hostid": id_, "name": tag} for id_, tag in hosts.tags(call.tx) if word in tag.lower()]
    return slice_rows(call, rows)


# ---------------------------------------------------------------- changing
@handler("updateHost")
def update_host(call: Call) -> Reply:
    """Changes a host's name, tags, or whether machines are placed on it."""
    host = call.need(tables.host, "id")
    changes: dict[str, Any] = {}
    if call.get("name"):
        changes["name"] = _free_name(call.tx, call["name"], host.id)
    if "hosttags" in call or call.raw.get("hosttags") == "":
        changes["tags"] = places.tags(call.get("hosttags"))
    if call.get("url"):
        raise Refused("A host's url can't change; remove the host and add it again")
    if (state := _resource_state(call.get("allocationstate"))) is not None:
        if host.resource_state in maintenance.STATES:
            raise Refused(f"The host is in {host.resource_state}; use cancelHostMaintenance")
        changes["resource_state"] = state
    if changes:
        call.tx.update(tables.host, host.id, **changes)
    turns.wish(call.tx, "host", host.id, host=host.id)
    zones.changed(call.tx, host.zone_id)
    return One(_answer(call.tx, host.id), call.about("Host", host), f"Changed host {host.name}")


def _free_name(tx: Tx, name: str, but: int) -> str:
    wanted = places.name(name, "host")
    same = zones.named(tx, tables.host, wanted)
    if same is not None and same.id != but:
        raise Refused(f"There is a host with name {wanted} already")
    return wanted


@handler("reconnectHost")
def reconnect_host(call: Call) -> Reply:
    """Opens a host's link anew; one without a link gets a new token for the line that makes it connect."""
    host = call.need(tables.host, "id")
    if host.state == "Up" and host.link_session is not None:
        call.tx.update(tables.host, host.id, state="Connecting", why="its link is being opened anew")
        part = Part("host", host.id, turns.wish(call.tx, "host", host.id, host=host.id), "live")
        return Accepted((part,), call.about("Host", host), f"Reconnecting host {host.name}")
    call.tx.update(tables.host, host.id, state="Connecting", why=WAITING)
    turns.wish(call.tx, "host", host.id, host=host.id)
    secret = host.hypervisor not in SIMULATED
    return Accepted((), call.about("Host", host), f"Reconnecting host {host.name}", secret=secret)


@result("reconnectHost")
def _reconnected(tx: Tx, job: Row) -> dict[str, Any]:
    """The token is made here, where the job's result is, since nothing else may hold it in clear."""
    host = tx.get(tables.host, job.instance_id)
    assert host is not None
    answer = _answer(tx, host.id)
    if host.state != "Connecting" or host.hypervisor in SIMULATED:
        return answer
    token = _ids.token()
    hosts.issue_token(tx, host.id, token)
    answer["details"] = {**answer.get("details", {}), "join": join_line(tx, token)}
    return answer


@handler("prepareHostForMaintenance")
def prepare_maintenance(call: Call) -> Reply:
    """Moves the machines of a host away; it is in maintenance when none is left."""
    host = call.need(tables.host, "id")
    if host.resource_state in ("PrepareForMaintenance", "Maintenance"):
        raise Refused(f"Host {host.name} is already in state {host.resource_state}")
    empty = not hosts.machines_on(call.tx, host.id)
    call.tx.update(tables.host, host.id, resource_state="Maintenance" if empty else "PrepareForMaintenance")
    turns.wish(call.tx, "host", host.id, host=host.id)
    zones.changed(call.tx, host.zone_id)
    wish = turns.wish(call.tx, "maintenance", host.id)
    parts = () if empty else (Part("maintenance", host.id, wish, "maintenance"),)
    return Accepted(parts, call.about("Host", host), f"Preparing host {host.name} for maintenance")


@handler("cancelHostMaintenance")
def cancel_maintenance(call: Call) -> Reply:
    """The host takes machines again."""
    host = call.need(tables.host, "id")
    if host.resource_state not in maintenance.STATES:
        raise Refused(f"Host {host.name} is not in maintenance but {host.resource_state}")
    call.tx.update(tables.host, host.id, resource_state="Enabled", why="")
    turns.wish(call.tx, "maintenance", host.id)
    hosts.stir_machines(call.tx, host.id)
    turns.wish(call.tx, "host", host.id, host=host.id)
    zones.changed(call.tx, host.zone_id)
    return Accepted((), call.about("Host", host), f"Cancelling the maintenance of host {host.name}")


@result("prepareHostForMaintenance", "cancelHostMaintenance")
def _maintained(tx: Tx, job: Row) -> dict[str, Any]:
    return _answer(tx, job.instance_id)


# ---------------------------------------------------------------- removing
@handler("deleteHost")
def delete_host(call: Call) -> Reply:
    """Removes an empty host; `forced` says that what was on it runs no longer."""
    host = call.need(tables.host, "id")
    there = hosts.machines_on(call.tx, host.id)
    forced = bool(call.get("forced"))
    if there and not forced:
        names = ", ".join(row.name for row in there[:5])
        raise Refused(
            f"The host {host.name} has {len(there)} machines on it ({names}). Use prepareHostForMaintenance first, or "
            "forced=true when the host is dead",
            Why.IN_USE,
        )
    _storage_goes(call, host)
    hosts.abandon(call.tx, host)
    hosts.forget(call.tx, host)
    zones.changed(call.tx, host.zone_id)
    return Success(about=call.about("Host", host), description=f"Deleted host {host.name}")


def _storage_goes(call: Call, host: Row) -> None:
    """Primary storage on the host dies with it, which has to be said when something is on it."""
    destroy = bool(call.get("forcedestroylocalstorage"))
    volume = tables.volume
    for pool in hosts.pools_on(call.tx, host.id):
        mine = sa.and_(volume.c.pool_id == pool.id, volume.c.removed.is_(None))
        lost = call.tx.all(sa.select(volume).where(mine))
        if lost and not destroy:
            raise Refused(
                f"The primary storage {pool.name} on host {host.name} holds {len(lost)} volumes; remove them, or lose them "
                "with forcedestroylocalstorage=true",
                Why.IN_USE,
            )
        for machine_id in {row.machine_id for row in lost if row.machine_id is not None}:
            machine = call.tx.get(tables.machine, machine_id)
            if machine is not None and machine.removed is None:
                machines.want(call.tx, machine, "gone", forced=True)
        call.tx.change(sa.update(volume).where(mine).values(state="Expunged", removed=call.now))
        call.tx.update(tables.storage_pool, pool.id, removed=call.now)


# ---------------------------------------------------------------- what hypervisors can
@handler("listHypervisorCapabilities")
def list_hypervisor_capabilities(call: Call) -> Reply:
    """What each hypervisor can do here."""
    wanted = (call.get("hypervisor") or call.get("keyword") or "").lower()
    rows = [
        {
            "id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"hypervisor/{name}")),
            "hypervisor": name,
            "hypervisorversion": "default",
            "maxguestslimit": 1000,
            "maxdatavolumeslimit": 64,
            "maxhostspercluster": 1000,
            "securitygroupenabled": name != "LXC",
            "storagemotionenabled": False,
            "vmsnapshotenabled": False,
        }
        for name in places.HYPERVISORS
        if wanted in name.lower()
    ]
    if call.get("id"):
        rows = [row for row in rows if row["id"] == call["id"]]
        if not rows:
            raise errors.unknown_entity(call.command.name, "id", call["id"])
    return slice_rows(call, rows)
