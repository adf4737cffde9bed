"""Remote access VPNs: clients outside log in at the source NAT address of a network, or of a VPC, and are on it: in a VPC on all
its tiers, whatever their ACLs say. Users are an account's: they may log in to all its VPNs.
"""

from collections.abc import Sequence
from typing import Any

from sysvm.api import results
from sysvm.api.answers import vpns as answers
from sysvm.api.call import Accepted, Call, Reply
from sysvm.api.commands.networks import firewall as firewall_commands
from sysvm.api.commands.networks import rule_lists
from sysvm.api.commands.networks.public_ips import the_address
from sysvm.api.handlers import handler, result
from sysvm.api.listing import list_rows
from sysvm.api.rules import firewall
from sysvm.api.rules import vpns as judge
from sysvm.api.rules.firewall import Match, Standing
from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.queries import machines, owned, private_gateways, rules, settings, vpcs, vpn_sites, vpns, wireguard
from sysvm.store.store import Row, Tx
from sysvm.store.tables import pack_address, unpack_address

ABOUT, USER = "RemoteAccessVpn", "VpnUser"
RANGE = "remote.access.vpn.client.iprange"
KEY_LENGTH = "remote.access.vpn.psk.length"
USER_LIMIT = "remote.access.vpn.user.limit"


# ---------------------------------------------------------------- VPNs
@handler("createRemoteAccessVpn")
def create_remote_access_vpn(call: Call) -> Reply:
    """Clients can log in from when the router serves it."""
    ip = the_address(call, "publicipid", network=False)
    if ip.vpc_id is None and ip.network_id is None:
        raise Refused("Unable to create remote access vpn; the ip address is not associated with any network")
    vpc = _vpc(call.tx, ip)
    if vpc is None:
        rule_lists.need_service(call.tx, ip.network_id, "Vpn")
    if vpns.of_address(call.tx, ip.id) is not None:
        raise Refused("A Remote Access VPN already exists for this public Ip address")
    if not ip.source_nat:
        raise Refused(
            f"Unable to create remote access vpn; ip address {unpack_address(ip.address)} is not the source nat address"
            " of its network or VPC"
        )
    text = call.get("iprange") or settings.value(call.tx, RANGE, account_id=ip.account_id)
    first, last = judge.clients(text, _taken(call.tx, ip, vpc))
    if vpc is None:
        _take_ports(call, ip)
    else:
        _need_ports(call.tx, ip)
    length = int(settings.value(call.tx, KEY_LENGTH))
    key = judge.preshared_key(call.ids.number(judge.LETTERS) for _ in range(length))
    id_ = call.tx.insert(
        tables.remote_access_vpn,
        uuid=call.ids.uuid(),
        network_id=ip.network_id if vpc is None else None,
        vpc_id=ip.vpc_id,
        public_ip_id=ip.id,
        first=pack_address(first),
        last=pack_address(last),
        preshared_key=call.vault.seal(key),
        for_display=call.get("fordisplay", True),
        created=call.now,
        account_id=ip.account_id,
        domain_id=ip.domain_id,
        domain_path=ip.domain_path,
    )
    row = call.tx.get(tables.remote_access_vpn, id_)
    assert row is not None
    return _changed(call, row, f"Create Remote Access VPN for ip {unpack_address(ip.address)}", secret=True)


def _vpc(tx: Tx, ip: Row) -> Row | None:
    """The VPC whose address it is, if its offering has the service."""
    vpc = tx.get(tables.vpc, ip.vpc_id) if ip.vpc_id is not None else None
    if vpc is None:
        return None
    if vpc.state == vpcs.DOOMED:
        raise Refused(f"VPC {vpc.name} is being deleted")
    offering = tx.get(tables.vpc_offering, vpc.offering_id)
    if offering is None or "Vpn" not in (offering.services or {}):
        raise Refused(f"The offering of VPC {vpc.name} does not have the service Vpn")
    return vpc


def _need_ports(tx: Tx, ip: Row) -> None:
    """In a VPC the ports have no rows: an address serves one tier at a time, and its VPN all of them."""
    for port in judge.PORTS:
        new = Standing("", vpns.PURPOSE, Match("udp", port, port), network_id=ip.network_id)
        firewall.refuse_conflict(new, map(rule_lists.standing, rules.near(tx, ip, "udp", port, port)))


def _taken(tx: Tx, ip: Row, vpc: Row | None) -> list[tuple[str, str]]:
    pool = tx.get(tables.ip_range, ip.ip_range_id)
    assert pool is not None
    public = ("public ip range", f"{pool.gateway}/{pool.netmask}")
    if vpc is not None:
        far = [cidr for row in vpn_sites.of_vpc(tx, vpc.id) for cidr in row.far_cidrs or ()]
        far += [row.cidr for row in (*private_gateways.of_vpc(tx, vpc.id), *vpcs.routes_of(tx, vpc.id))]
        return [("the VPC's addresses", vpc.cidr), public, *(("what its router reaches elsewhere,", cidr) for cidr in far)]
    network = tx.get(tables.network, ip.network_id)
    assert network is not None
    taken = [("guest ip range", network.cidr), public]
    server = wireguard.of_network(tx, network.id)
    return taken if server is None else [*taken, ("the range of WireGuard peers", server.cidr)]


def _take_ports(call: Call, ip: Row) -> None:
    """Rows that stand in the way of whoever wants these ports of the address, and rules that open them."""
    for port in judge.PORTS:
        match = Match("udp", port, port)
        near = rules.near(call.tx, ip, "udp", port, port)
        new = Standing("", vpns.PURPOSE, match, network_id=ip.network_id)
        firewall.refuse_conflict(new, map(rule_lists.standing, near))
        related = None
        if call.get("openfirewall", True):
            related = opened(call, ip, match, near)
        places = {"public_ip_id": ip.id, "network_id": ip.network_id, "related_id": related}
        rule_lists.write(call, vpns.PURPOSE, match, ip, (), **places)


def opened(call: Call, ip: Row, match: Match, near: Sequence[Row]) -> int | None:
    """The rule that opens the port; None where one of the user's own does so already."""
    for row in near:
        if row.purpose == rules.FIREWALL and firewall.ANYWHERE in (row.sources or ()):
            return None
    return int(firewall_commands.add(call, ip, match, (firewall.ANYWHERE,)).id)


def _changed(call: Call, row: Row, text: str, *, secret: bool = False) -> Accepted:
    """With `secret` the job's result shows the key."""
    machines.need_reachable(call.tx, vpns.routers_of(call.tx, row))
    parts = vpns.wish_documents(call.tx, row)
    return Accepted(parts, call.about(ABOUT, row), text, secret=secret)


@result("createRemoteAccessVpn", "updateRemoteAccessVpn")
def _vpn_result(tx: Tx, job: Row) -> dict[str, Any]:
    row = vpns.one(tx, job.instance_id)
    if row is None:
        return {"id": job.instance_uuid, "state": "Removed"}
    if row.state != "Running":
        vpns.set_running(tx, row)
        return _vpn_result(tx, job)
    return answers.vpn(row, results.open_secret(row.preshared_key))


@handler("listRemoteAccessVpns")
def list_remote_access_vpns(call: Call) -> Reply:
    """VPNs with their keys, to those who may see them."""
    vpn = tables.remote_access_vpn
    return list_rows(
        call,
        vpns.statement(),
        vpn,
        lambda _, rows: [answers.vpn(row, call.vault.open(row.preshared_key)) for row in rows],
        equal={"fordisplay": vpn.c.for_display},
        refs={"publicipid": (tables.public_ip, vpn.c.public_ip_id), "networkid": (tables.network, vpn.c.network_id)},
        keyword=(vpn.c.state,),
    )


@handler("updateRemoteAccessVpn")
def update_remote_access_vpn(call: Call) -> Reply:
    """Whether users are shown it."""
    row = call.need(tables.remote_access_vpn, "id")
    if "fordisplay" in call:
        call.tx.update(tables.remote_access_vpn, row.id, for_display=call["fordisplay"])
    return _changed(call, row, f"Updating remote access vpn {row.uuid}", secret=True)


@handler("deleteRemoteAccessVpn")
def delete_remote_access_vpn(call: Call) -> Reply:
    """Nobody can log in any more; clients are cut off. The account's users stay."""
    ip = call.need(tables.public_ip, "publicipid")
    row = vpns.of_address(call.tx, ip.id)
    if row is None:
        raise Refused(f"There is no remote access VPN on ip address {unpack_address(ip.address)}")
    vpns.remove(call.tx, row)
    return _changed(call, row, f"Delete Remote Access VPN for ip {unpack_address(ip.address)}")


# ---------------------------------------------------------------- users
@handler("addVpnUser")
def add_vpn_user(call: Call) -> Reply:
    """May log in from when the routers know it."""
    owner = call.owner()
    name, password = judge.name(call["username"]), judge.password(call["password"])
    there = vpns.users_of(call.tx, owner.account_id)
    # Charon takes Bob for bob.
    if any(user.name.lower() == name.lower() for user in there):
        raise Refused(f"VPN User with name {name} is already added for this account")
    most = int(settings.value(call.tx, USER_LIMIT))
    if len(there) >= most:
        raise Refused(f"Cannot add more than {most} remote access vpn users", Why.LIMIT)
    id_ = call.tx.insert(
        tables.vpn_user,
        uuid=call.ids.uuid(),
        name=name,
        password=call.vault.seal(password),
        created=call.now,
        **owner.columns,
    )
    row = call.tx.get(tables.vpn_user, id_)
    assert row is not None
    return _told(call, row, f"Add Remote Access VPN user {name}")


def _told(call: Call, user: Row, text: str) -> Accepted:
    return Accepted(vpns.wish_routers(call.tx, user.account_id), call.about(USER, user), text)


@result("addVpnUser")
def _user_result(tx: Tx, job: Row) -> dict[str, Any]:
    row = vpns.user(tx, job.instance_id)
    if row is None:
        return {"id": job.instance_uuid, "state": "Revoke"}
    if row.state != "Active":
        tx.update(tables.vpn_user, row.id, state="Active")
        return _user_result(tx, job)
    return answers.user(row)


@handler("listVpnUsers")
def list_vpn_users(call: Call) -> Reply:
    """Without their passwords."""
    user = tables.vpn_user
    return list_rows(
        call,
        owned.with_owner(user),
        user,
        lambda _, rows: [answers.user(row) for row in rows],
        equal={"username": user.c.name},
        keyword=(user.c.name,),
    )


@handler("removeVpnUser")
def remove_vpn_user(call: Call) -> Reply:
    """Cut off, and not let in again."""
    owner, name = call.owner(), call["username"]
    row = next((user for user in vpns.users_of(call.tx, owner.account_id) if user.name == name), None)
    if row is None:
        raise Refused(f"Could not find vpn user={name} of this account")
    vpns.remove_user(call.tx, row)
    return _told(call, row, f"Remove Remote Access VPN user {name}")
