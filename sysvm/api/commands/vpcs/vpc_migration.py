"""migrateVPC: a VPC and its tiers go over to other offerings. All that they have must fit the new ones, or nothing changes.

Its router lives its next incarnation, beside the one that serves: with other services, and on another system offering where the
VPC offering names one. There is one kind of router, so no addresses or rules move anywhere.
"""

from sysvm.api.call import Accepted, Call, Reply
from sysvm.api.commands.networks.networks import ABOUT as NETWORK
from sysvm.api.commands.networks.networks import other_offering
from sysvm.api.commands.vpcs.vpcs import ABOUT
from sysvm.api.handlers import handler
from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.queries import machines, vpcs, vpn_sites, vpns
from sysvm.store.store import Row

Tiers = dict[int, Row]  # offering by network


@handler("migrateVPC")
def migrate_vpc(call: Call) -> Reply:
    """Done when its router serves by the new offerings."""
    vpc, offering = call.need(tables.vpc, "vpcid"), call.need(tables.vpc_offering, "vpcofferingid")
    if vpc.state == vpcs.DOOMED:
        raise Refused(f"VPC {vpc.name} is being deleted; it can't be migrated")
    if offering.state != "Enabled":
        raise Refused(f"VPC offering {offering.name} is not in Enabled state, can't migrate to it")
    if offering.id == vpc.offering_id and not call.get("tiernetworkofferings"):
        raise Refused(f"VPC {vpc.name} has the VPC offering {offering.name} already")
    wanted = _wanted(call, vpc)
    _check(call, vpc, offering, wanted)
    for network_id, other in wanted.items():
        tier = call.tx.get(tables.network, network_id)
        assert tier is not None
        call.tx.update(tables.network, network_id, **other_offering(call.tx, tier, other))
    call.tx.update(tables.vpc, vpc.id, offering_id=offering.id, redundant=bool(offering.redundant))
    parts = []
    for router in vpcs.routers_of(call.tx, vpc.id):
        if offering.service_offering_id is not None:
            call.tx.update(tables.machine, router.id, service_offering_id=offering.service_offering_id)
        if router.wanted == "running":
            parts.append(machines.replace(call.tx, router))
    text = f"Migrating VPC {vpc.uuid} to VPC offering {offering.uuid}"
    return Accepted((*parts, vpcs.want(call.tx, vpc.id)), call.about(ABOUT, vpc), text)


def _wanted(call: Call, vpc: Row) -> Tiers:
    """What tiers go over to; those that are not named keep what they have."""
    found: Tiers = {}
    for entry in call.get("tiernetworkofferings") or ():
        named = {name.lower(): value for name, value in entry.items()}
        if set(named) != {"networkid", "networkofferingid"}:
            raise Refused(
                "Each of tiernetworkofferings has networkid and networkofferingid, as tiernetworkofferings[0].networkid=..."
            )
        tier = call.find(tables.network, named["networkid"], "networkid")
        if tier.vpc_id != vpc.id:
            raise Refused(f"{NETWORK} {tier.name} is not in VPC {vpc.name}")
        if tier.id in found:
            raise Refused(f"{NETWORK} {tier.name} is named twice in tiernetworkofferings")
        found[tier.id] = call.find(tables.network_offering, named["networkofferingid"], "networkofferingid")
    return found


def _check(call: Call, vpc: Row, offering: Row, wanted: Tiers) -> None:
    has = frozenset(offering.services or {})
    for tier in vpcs.tiers_of(call.tx, vpc.id):
        other = wanted.get(tier.id) or call.tx.get(tables.network_offering, tier.offering_id)
        assert other is not None
        if lacks := sorted(frozenset(other.services or {}) - has):
            raise Refused(
                f"VPC offering {offering.name} lacks {', '.join(lacks)}, which offering {other.name} of network {tier.name} has;"
                " give the network another one with tiernetworkofferings"
            )
    served = {"VPN gateway": vpn_sites.gateway_of(call.tx, vpc.id), "remote access VPN": vpns.of_vpc(call.tx, vpc.id)}
    for what, row in served.items():
        if "Vpn" not in has and row is not None:
            raise Refused(f"VPC offering {offering.name} lacks Vpn, but VPC {vpc.name} has a {what}", Why.IN_USE)
