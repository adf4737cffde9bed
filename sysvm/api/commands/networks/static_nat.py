"""Static NAT: a public address that is one guest's, both ways. What may reach it is still the firewall's business."""

from sysvm.api.call import Accepted, Call, Reply, Rows, Success
from sysvm.api.commands.networks import firewall as firewall_commands
from sysvm.api.commands.networks import rule_lists, vpc_tiers
from sysvm.api.commands.networks.guest_addresses import guest_address, the_guest
from sysvm.api.commands.networks.public_ips import ABOUT, the_address
from sysvm.api.handlers import handler, result
from sysvm.api.rules import firewall
from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.queries import addresses, machines, portable_ips, public_ips, rules
from sysvm.store.store import Row, Tx


@handler("enableStaticNat")
def enable_static_nat(call: Call) -> Reply:
    """The address is the guest's; its routers take it as soon as they can."""
    ip = the_address(call, "ipaddressid", network=False)
    guest = the_guest(call, "virtualmachineid")
    ip = _moved(call, ip)
    if ip.vpc_id is not None:
        ip = vpc_tiers.serve_tier(call, ip)
    network = _network(call, ip)
    if ip.source_nat:
        raise Refused(f"Can't enable static, ip address {ip.uuid} is a sourceNat ip address")
    rule_lists.need_service(call.tx, network.id, "StaticNat")
    address = guest_address(call.tx, guest, network, call.get("vmguestip"))
    _refuse_taken(call.tx, ip, guest, address)
    call.tx.update(tables.public_ip, ip.id, static_nat=True, machine_id=guest.id, guest_address=address, network_id=network.id)
    machines.need_reachable_router(call.tx, network.id)
    machines.wish_documents(call.tx, network.id)
    return Success(about=call.about(ABOUT, ip), description=f"enabling static nat for ip {ip.uuid} to vm {guest.uuid}")


def _moved(call: Call, ip: Row) -> Row:
    """The address; a portable one serves the network that the call names from now on."""
    network = call.row(tables.network, "networkid")
    if network is None or network.id == ip.network_id or not addresses.is_portable(call.tx, ip.id):
        return ip
    if network.vpc_id is not None and network.vpc_id == ip.vpc_id:
        return ip  # which tier of its VPC an address serves is said by rules, portable or not
    if why := portable_ips.why_not_to(call.tx, ip, network):
        text = f"Unable to move portable ip address {tables.unpack_address(ip.address)} to network {network.name}"
        raise Refused(f"{text}: {why}", Why.RULE_CONFLICT)
    return portable_ips.move(call.tx, ip, network)


def _network(call: Call, ip: Row) -> Row:
    given = call.row(tables.network, "networkid")
    id_ = ip.network_id if ip.network_id is not None else (given.id if given is not None else None)
    if id_ is None:
        raise Refused("Unable to enable static nat: the ip address is not associated with any network; give networkid")
    if given is not None and given.id != id_:
        raise Refused("The ip address is associated with another network than the given networkid")
    network = call.tx.get(tables.network, id_)
    assert network is not None
    return network


def _refuse_taken(tx: Tx, ip: Row, guest: Row, address: bytes) -> None:
    text = tables.unpack_address(ip.address)
    if ip.static_nat:
        if ip.machine_id == guest.id and bytes(ip.guest_address) == address:
            return
        raise Refused(
            f"Failed to enable static nat for the ip address {text} as it is already enabled for another vm",
            Why.RULE_CONFLICT,
        )
    for purpose in ("PortForwarding", "LoadBalancing"):
        if rules.of_address(tx, ip.id, purpose):
            raise Refused(
                f"Failed to enable static nat for the ip address {text} as it already has {purpose} rules assigned",
                Why.RULE_CONFLICT,
            )
    other = public_ips.static_nat_of(tx, guest.id, ip.id)
    if other is not None and other.guest_address is not None and bytes(other.guest_address) == address:
        raise Refused(
            f"Failed to enable static nat for the ip address {text} as vm {guest.uuid} is already associated with ip"
            f" {tables.unpack_address(other.address)}",
            Why.RULE_CONFLICT,
        )


@handler("disableStaticNat")
def disable_static_nat(call: Call) -> Reply:
    """The address leads nowhere; the rules on it go with it."""
    ip = the_address(call, "ipaddressid")
    if not ip.static_nat:
        raise Refused(f"Specified IP address {tables.unpack_address(ip.address)} is not associated with any vm: no static nat")
    rules.remove_of_address(call.tx, ip.id)
    call.tx.update(tables.public_ip, ip.id, static_nat=False, machine_id=None, guest_address=None)
    machines.need_reachable_router(call.tx, ip.network_id)
    parts = machines.wish_documents(call.tx, ip.network_id)
    return Accepted(parts, call.about(ABOUT, ip), f"Disabling static nat for ip id={ip.uuid}")


# ---------------------------------------------------------------- rules on such an address
@handler("createIpForwardingRule")
def create_ip_forwarding_rule(call: Call) -> Reply:
    """Ports of an address with static NAT are open: a firewall rule, for everything else leads to its guest anyway."""
    ip = the_address(call, "ipaddressid")
    if not ip.static_nat:
        raise Refused(f"Unable to create ip forwarding rule; ip id={ip.uuid} has no static nat enabled")
    match = firewall.match(call["protocol"], call["startport"], call.get("endport"), None, None)
    sources = firewall.cidrs(call.get("cidrlist", ())) or (firewall.ANYWHERE,)
    row = firewall_commands.add(call, ip, match, sources)
    return rule_lists.changed(call, row, f"creating ip forwarding rule for ip {ip.uuid}")


@result("createIpForwardingRule")
def _forward_result(tx: Tx, job: Row) -> dict[str, object]:
    return _as_forward(rule_lists.finished(tx, job))


@handler("listIpForwardingRules")
def list_ip_forwarding_rules(call: Call) -> Reply:
    """Firewall rules on addresses with static NAT, as forwards of their guests."""
    ip, machine = tables.public_ip.c, call.row(tables.machine, "virtualmachineid")
    conditions = [ip.static_nat.is_(True)]
    if machine is not None:
        conditions.append(ip.machine_id == machine.id)
    reply = rule_lists.list_of(call, rules.FIREWALL, *conditions)
    assert isinstance(reply, Rows)
    return Rows([_as_forward(row) for row in reply.rows], reply.count)


def _as_forward(row: dict[str, object]) -> dict[str, object]:
    first, last = row.get("startport"), row.get("endport")
    kept = {name: row[name] for name in row if name not in ("startport", "endport", "icmptype", "icmpcode", "traffictype")}
    ports = {"publicport": first, "publicendport": last, "privateport": first, "privateendport": last}
    return kept | {name: str(value) for name, value in ports.items() if value is not None}


@handler("deleteIpForwardingRule")
def delete_ip_forwarding_rule(call: Call) -> Reply:
    """Closed again."""
    return rule_lists.removed(call, rules.FIREWALL, "revoking ip forwarding rule")
