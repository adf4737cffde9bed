"""Networks of VPCs: what createNetwork checks when it has a vpcid, and which tier a public address of a VPC serves."""

from sysvm.api.call import Call
from sysvm.api.rules import subnets
from sysvm.api.rules import vpcs as judge
from sysvm.api.rules.subnets import Subnet
from sysvm.basics.errors import Refused
from sysvm.store import tables
from sysvm.store.queries import acls, nics, settings, vpcs
from sysvm.store.store import Row

MOST = "vpc.max.networks"


def vpc_of(call: Call, zone: Row, offering: Row) -> Row | None:
    """The VPC that a new network shall be in, if it can be."""
    vpc = call.row(tables.vpc, "vpcid")
    if vpc is None:
        if offering.for_vpc:
            raise Refused(f"Network offering {offering.name} can be used for VPC networks only; give vpcid")
        return None
    if not offering.for_vpc:
        raise Refused(f"Network offering {offering.name} can't be used for VPC networks: it is not for VPCs")
    if vpc.zone_id != zone.id:
        raise Refused(f"VPC {vpc.name} is not in zone {zone.name}")
    if vpc.state == vpcs.DOOMED:
        raise Refused(f"VPC {vpc.name} is being deleted; no network can be added to it")
    _check_services(call, vpc, offering)
    most = int(settings.value(call.tx, MOST))
    if len(vpcs.tiers_of(call.tx, vpc.id)) >= most:
        raise Refused(f"Number of networks per VPC can't extend {most}; increase it using global config {MOST}")
    return vpc


def _check_services(call: Call, vpc: Row, offering: Row) -> None:
    offered = call.tx.get(tables.vpc_offering, vpc.offering_id)
    assert offered is not None
    for service in offering.services or {}:
        if service not in (offered.services or {}):
            raise Refused(f"Service {service} of the network offering is not supported by VPC {vpc.name}")


def subnet(call: Call, vpc: Row) -> Subnet:
    """The addresses of a new tier."""
    gateway, netmask = call.get("gateway"), call.get("netmask")
    if not (gateway and netmask):
        raise Refused("gateway and netmask must be given for a network of a VPC")
    found = subnets.subnet(gateway, netmask, call.get("startip"), call.get("endip"))
    judge.tier(found, vpc.cidr, [tier.cidr for tier in vpcs.tiers_of(call.tx, vpc.id)])
    return found


def acl_of(call: Call, vpc: Row) -> int:
    """The list that a new tier begins with; nothing comes in when none is given."""
    given = usable_list(call, "aclid", vpc.id)
    return int((given or acls.default(call.tx, acls.DENY)).id)


def usable_list(call: Call, name: str, vpc_id: int | None) -> Row | None:
    """The list that a parameter names: one of the VPC's own, or one that every cloud has."""
    row = call.row(tables.network_acl_list, name, check=False)
    if row is None or row.vpc_id is None:
        return row
    call.check_access(tables.network_acl_list, row)
    if row.vpc_id != vpc_id:
        raise Refused(f"ACL {row.name} belongs to another VPC than the network")
    return row


# ---------------------------------------------------------------- public addresses
def serve_tier(call: Call, ip: Row) -> Row:
    """The address of a VPC, now of the tier that a new rule on it is for: the one of `networkid`, or the guest's.

    An address serves one tier at a time. When nothing stands on it any more it may serve another one.
    """
    wanted = _wanted_tier(call, ip)
    if wanted is None:
        if ip.network_id is None:
            raise Refused("The ip address is of a VPC and serves none of its networks yet; give networkid")
        return ip
    if ip.network_id == wanted.id:
        return ip
    if ip.network_id is not None and vpcs.is_used(call.tx, ip):
        raise Refused("The ip address is associated with another network of the VPC, and has rules there")
    call.tx.update(tables.public_ip, ip.id, network_id=wanted.id)
    found = call.tx.get(tables.public_ip, ip.id)
    assert found is not None
    return found


def _wanted_tier(call: Call, ip: Row) -> Row | None:
    given = call.row(tables.network, "networkid")
    if given is None and call.get("virtualmachineid"):
        guest = call.need(tables.machine, "virtualmachineid")
        homes = [call.tx.get(tables.network, nic.network_id) for nic in nics.of_machine(call.tx, guest.id) if nic.network_id]
        given = next((home for home in homes if home is not None and home.vpc_id == ip.vpc_id), None)
    if given is not None and given.vpc_id != ip.vpc_id:
        raise Refused(f"Network {given.name} is not in the VPC of the ip address")
    return given
