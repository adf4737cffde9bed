"""WireGuard, beside the VPNs of CloudStack: peers outside have a key each and are on an isolated network.

The first peer of a network makes its server: the router's key, the port at the source NAT address, the range of the peers. The
last one that is removed takes all of it along.

A private key is made here only for a peer that brings no public key. It is in that one answer and kept nowhere, which the result
of a job would be: so the answer does not wait for the router, and the peer's state is what tells that it has been told.
"""

from typing import Any

from sysvm.api.answers import wireguard as answers
from sysvm.api.call import Accepted, Call, One, Reply
from sysvm.api.commands.networks import rule_lists
from sysvm.api.commands.networks.public_ips import the_address
from sysvm.api.commands.vpns.vpns import opened
from sysvm.api.handlers import handler, result
from sysvm.api.listing import list_rows
from sysvm.api.rules import firewall
from sysvm.api.rules import wireguard as judge
from sysvm.api.rules.firewall import Match, Standing
from sysvm.basics.errors import Refused
from sysvm.store import tables
from sysvm.store.queries import jobs, machines, rules, settings, vpns, wireguard
from sysvm.store.store import Row, Tx
from sysvm.store.tables import pack_address, unpack_address

ABOUT = "WireGuardPeer"
RANGE = "remote.access.wireguard.client.iprange"
PORT = "remote.access.wireguard.port"


@handler("addWireGuardPeer")
def add_wireguard_peer(call: Call) -> Reply:
    """May come in from when the routers know it."""
    ip = the_address(call, "publicipid", network=False)
    network = _network(call, ip)
    name = judge.name(call["name"])
    made = None if call.get("publickey") else judge.pair(call.ids.token(32))
    key = made.public if made is not None else judge.public_key(call["publickey"])
    server = wireguard.of_network(call.tx, network.id)
    if server is None:
        server = _make_server(call, ip, network)
    elif call.get("iprange") and judge.clients(call["iprange"], ()) != server.cidr:
        raise Refused(f"The peers of this network have addresses of {server.cidr}; remove them to change that")
    row = _add(call, ip, server, name, key)
    machines.need_reachable_router(call.tx, network.id)
    _when_live(call, row)
    found = wireguard.one(call.tx, row.id)
    assert found is not None
    text = f"Add WireGuard peer {name} for ip {unpack_address(ip.address)}"
    return One(answers.peer(found, made.private if made is not None else ""), call.about(ABOUT, row), text)


def _when_live(call: Call, row: Row) -> None:
    """The network's routers are told, and a job of nobody's waits for them to say so."""
    server = call.tx.get(tables.wireguard_server, row.server_id)
    assert server is not None
    new = jobs.NewJob(
        command=call.command.name, actor=call.caller.actor, parts=machines.wish_documents(call.tx, server.network_id),
        params={}, about=call.about(ABOUT, row), event_type="", description="",
    )  # fmt: skip
    jobs.open_job(call.tx, new)


def _network(call: Call, ip: Row) -> Row:
    """The isolated network whose source NAT address it is."""
    if ip.vpc_id is not None or ip.network_id is None or not ip.source_nat:
        raise Refused(
            f"Unable to add a WireGuard peer; ip address {unpack_address(ip.address)} is not the source nat address of an"
            " isolated network"
        )
    return rule_lists.need_service(call.tx, ip.network_id, "Vpn")


def _make_server(call: Call, ip: Row, network: Row) -> Row:
    text = call.get("iprange") or settings.value(call.tx, RANGE, account_id=ip.account_id)
    cidr = judge.clients(text, _taken(call.tx, ip, network))
    port = int(settings.value(call.tx, PORT))
    _take_port(call, ip, port)
    key = judge.pair(call.ids.token(32))
    id_ = call.tx.insert(
        tables.wireguard_server,
        network_id=network.id,
        public_ip_id=ip.id,
        port=port,
        cidr=cidr,
        private_key=call.vault.seal(key.private),
        public_key=key.public,
        created=call.now,
    )
    row = call.tx.get(tables.wireguard_server, id_)
    assert row is not None
    return row


def _taken(tx: Tx, ip: Row, network: Row) -> list[tuple[str, str]]:
    pool = tx.get(tables.ip_range, ip.ip_range_id)
    assert pool is not None
    taken = [("guest ip range", network.cidr), ("public ip range", f"{pool.gateway}/{pool.netmask}")]
    vpn = vpns.of_network(tx, network.id)
    if vpn is not None:
        first, last = unpack_address(vpn.first), unpack_address(vpn.last)
        taken += [("the range of remote access VPN", cidr) for cidr in judge.between(first, last)]
    return taken


def _take_port(call: Call, ip: Row, port: int) -> None:
    """A row that stands in the way of whoever wants the port, and a rule that opens it."""
    if not 1 <= port <= 65535:
        raise Refused(f"The setting {PORT} is {port}, which is no port")
    match = Match("udp", port, port)
    near = rules.near(call.tx, ip, "udp", port, port)
    firewall.refuse_conflict(Standing("", wireguard.PURPOSE, match, network_id=ip.network_id), map(rule_lists.standing, near))
    related = opened(call, ip, match, near) if call.get("openfirewall", True) else None
    places = {"public_ip_id": ip.id, "network_id": ip.network_id, "related_id": related}
    rule_lists.write(call, wireguard.PURPOSE, match, ip, (), **places)


def _add(call: Call, ip: Row, server: Row, name: str, key: str) -> Row:
    there = wireguard.peers_of(call.tx, server.id)
    if any(peer.name == name for peer in there):
        raise Refused(f"The network has a WireGuard peer {name} already")
    if key == server.public_key or any(peer.public_key == key for peer in there):
        raise Refused("The network has a WireGuard peer with this public key already, or it is the router's own")
    address = judge.free_address(server.cidr, {unpack_address(peer.address) for peer in there})
    id_ = call.tx.insert(
        tables.wireguard_peer,
        uuid=call.ids.uuid(),
        server_id=server.id,
        name=name,
        public_key=key,
        address=pack_address(address),
        created=call.now,
        account_id=ip.account_id,
        domain_id=ip.domain_id,
        domain_path=ip.domain_path,
    )
    row = call.tx.get(tables.wireguard_peer, id_)
    assert row is not None
    return row


@result("addWireGuardPeer")
def _peer_result(tx: Tx, job: Row) -> dict[str, Any]:
    row = wireguard.one(tx, job.instance_id)
    if row is None:
        return {"id": job.instance_uuid, "state": "Removed"}
    if row.state != "Active":
        wireguard.set_active(tx, row)
        return _peer_result(tx, job)
    return answers.peer(row)


@handler("listWireGuardPeers")
def list_wireguard_peers(call: Call) -> Reply:
    """Peers with all that their files say but the private keys, which nobody knows but they."""
    peer, server = tables.wireguard_peer, tables.wireguard_server
    return list_rows(
        call,
        wireguard.statement(),
        peer,
        lambda _, rows: [answers.peer(row) for row in rows],
        equal={"name": peer.c.name},
        refs={
            "publicipid": (tables.public_ip, server.c.public_ip_id),
            "networkid": (tables.network, server.c.network_id),
        },
        keyword=(peer.c.name,),
    )


@handler("removeWireGuardPeer")
def remove_wireguard_peer(call: Call) -> Reply:
    """Cut off, and not let in again."""
    row = call.need(tables.wireguard_peer, "id")
    server = call.tx.get(tables.wireguard_server, row.server_id)
    assert server is not None
    wireguard.remove_peer(call.tx, row)
    machines.need_reachable_router(call.tx, server.network_id)
    parts = machines.wish_documents(call.tx, server.network_id)
    return Accepted(parts, call.about(ABOUT, row), f"Remove WireGuard peer {row.name}")
