"""Site-to-site VPN, what is connected: the gateway of a VPC, and customer gateways, an account's word for other sides."""

from typing import Any

from sysvm.api import results
from sysvm.api.answers import vpn_sites as answers
from sysvm.api.call import Accepted, Call, Owner, Reply
from sysvm.api.handlers import handler, result
from sysvm.api.listing import list_rows
from sysvm.api.rules import vpn_sites as judge
from sysvm.basics.errors import Refused
from sysvm.store import tables
from sysvm.store.queries import owned, settings, vpcs, vpn_sites
from sysvm.store.queries.jobs import Part
from sysvm.store.store import Row, Tx

GATEWAY, CUSTOMER = "VpnGateway", "VpnCustomerGateway"
SUBNETS = "site2site.vpn.customergateway.subnets.limit"


# ---------------------------------------------------------------- gateways of VPCs
@handler("createVpnGateway")
def create_vpn_gateway(call: Call) -> Reply:
    """The VPC's source NAT address; its router does nothing before there is a connection."""
    vpc = call.need(tables.vpc, "vpcid")
    _need_service(call.tx, vpc)
    if vpn_sites.gateway_of(call.tx, vpc.id) is not None:
        raise Refused(f"The VPN gateway of VPC {vpc.name} already existed!")
    ip = vpcs.source_nat(call.tx, vpc.id)
    if ip is None:
        raise Refused(f"Cannot found source nat ip of vpc {vpc.name}: it has one when its router is made")
    id_ = call.tx.insert(
        tables.vpn_gateway,
        uuid=call.ids.uuid(),
        vpc_id=vpc.id,
        public_ip_id=ip.id,
        for_display=call.get("fordisplay", True),
        created=call.now,
        **Owner(vpc.account_id, vpc.domain_id, vpc.domain_path).columns,
    )
    row = call.tx.get(tables.vpn_gateway, id_)
    assert row is not None
    return Accepted((), call.about(GATEWAY, row), f"creating VPN gateway of VPC {vpc.name}")


def _need_service(tx: Tx, vpc: Row) -> None:
    offering = tx.get(tables.vpc_offering, vpc.offering_id)
    if vpc.state == vpcs.DOOMED:
        raise Refused(f"VPC {vpc.name} is being deleted")
    if offering is None or "Vpn" not in (offering.services or {}):
        raise Refused(f"The offering of VPC {vpc.name} does not have the service Vpn")


@result("createVpnGateway")
def _gateway_result(tx: Tx, job: Row) -> dict[str, Any]:
    row = vpn_sites.gateway(tx, job.instance_id)
    return answers.gateway(row) if row is not None else {"id": job.instance_uuid}


@handler("listVpnGateways")
def list_vpn_gateways(call: Call) -> Reply:
    """Gateways of VPCs."""
    table = tables.vpn_gateway
    return list_rows(
        call,
        vpn_sites.gateways(),
        table,
        lambda _, rows: [answers.gateway(row) for row in rows],
        equal={"fordisplay": table.c.for_display},
        refs={"vpcid": (tables.vpc, table.c.vpc_id)},
        keyword=(tables.vpc.c.name,),
    )


@handler("deleteVpnGateway")
def delete_vpn_gateway(call: Call) -> Reply:
    """Refused while it has connections."""
    row = call.need(tables.vpn_gateway, "id")
    if vpn_sites.of_gateway(call.tx, row.id):
        raise Refused(f"Unable to delete VPN gateway {row.uuid} because there is still related VPN connections!")
    call.tx.update(tables.vpn_gateway, row.id, removed=call.now)
    return Accepted((), call.about(GATEWAY, row), f"deleting VPN gateway {row.uuid}")


# ---------------------------------------------------------------- customer gateways
@handler("createVpnCustomerGateway")
def create_vpn_customer_gateway(call: Call) -> Reply:
    """What an account knows of another side."""
    owner = call.owner()
    words = _words(call)
    name = _free_name(call.tx, owner.account_id, call.get("name") or f"VPN-{words['gateway']}")
    id_ = call.tx.insert(tables.vpn_customer_gateway, uuid=call.ids.uuid(), name=name, created=call.now, **words, **owner.columns)
    row = call.tx.get(tables.vpn_customer_gateway, id_)
    assert row is not None
    return Accepted((), call.about(CUSTOMER, row), f"creating VPN customer gateway {name}", secret=True)


def _words(call: Call) -> dict[str, Any]:
    """The columns that say what the other side is."""
    far = judge.gateway(call["gateway"])
    return {
        "gateway": far,
        "cidrs": list(judge.cidrs(call["cidrlist"], int(settings.value(call.tx, SUBNETS)), far)),
        "preshared_key": call.vault.seal(judge.preshared_key(call["ipsecpsk"])),
        "ike_policy": judge.policy("IKE", call["ikepolicy"]),
        "esp_policy": judge.policy("ESP", call["esppolicy"]),
        "ike_lifetime": judge.lifetime("IKE", call.get("ikelifetime"), judge.IKE_S),
        "esp_lifetime": judge.lifetime("ESP", call.get("esplifetime"), judge.ESP_S),
        "dpd": call.get("dpd", False),
        "force_encap": call.get("forceencap", False),
        "split": call.get("splitconnections", False),
        "ike_version": judge.version(call.get("ikeversion")),
    }


def _free_name(tx: Tx, account_id: int, name: str, own: int = 0) -> str:
    if any(row.name == name and row.id != own for row in vpn_sites.customers_of(tx, account_id)):
        raise Refused(f"The customer gateway with name {name} already existed!")
    return name


@result("createVpnCustomerGateway", "updateVpnCustomerGateway")
def _customer_result(tx: Tx, job: Row) -> dict[str, Any]:
    row = vpn_sites.customer(tx, job.instance_id)
    if row is None:
        return {"id": job.instance_uuid}
    for connection in vpn_sites.of_customer(tx, row.id):
        vpn_sites.set_told(tx, connection)
    return answers.customer(row, results.open_secret(row.preshared_key))


@handler("listVpnCustomerGateways")
def list_vpn_customer_gateways(call: Call) -> Reply:
    """Customer gateways with their keys, to those who may see them."""
    table = tables.vpn_customer_gateway
    return list_rows(
        call,
        owned.with_owner(table),
        table,
        lambda _, rows: [answers.customer(row, call.vault.open(row.preshared_key)) for row in rows],
        keyword=(table.c.name, table.c.gateway),
    )


@handler("updateVpnCustomerGateway")
def update_vpn_customer_gateway(call: Call) -> Reply:
    """Whatever is not given is the default again, as in CloudStack; its connections begin anew."""
    row = call.need(tables.vpn_customer_gateway, "id")
    words = _words(call)
    name = _free_name(call.tx, row.account_id, call.get("name") or f"VPN-{words['gateway']}", row.id)
    connections = vpn_sites.of_customer(call.tx, row.id)
    for connection in connections:
        if connection.state == vpn_sites.PENDING:
            raise Refused(f"Unable to update customer gateway {row.name}: its VPN connection {connection.uuid} is pending")
        _refuse_overlap(call.tx, connection, name, words["cidrs"])
        vpn_sites.need_reachable_router(call.tx, connection.vpc_id)
    call.tx.update(tables.vpn_customer_gateway, row.id, name=name, **words)
    parts: tuple[Part, ...] = ()
    for connection in connections:
        vpn_sites.begin_anew(call.tx, connection)
        parts += vpcs.wish_documents(call.tx, connection.vpc_id)
    return Accepted(parts, call.about(CUSTOMER, row), f"updating VPN customer gateway {name}", secret=True)


def _refuse_overlap(tx: Tx, connection: Row, name: str, cidrs: list[str]) -> None:
    vpc = tx.get(tables.vpc, connection.vpc_id)
    assert vpc is not None
    others = [each for each in vpn_sites.of_gateway(tx, connection.gateway_id) if each.id != connection.id]
    judge.refuse_overlap(name, cidrs, vpc.cidr, [cidr for each in others for cidr in each.far_cidrs or ()])


@handler("deleteVpnCustomerGateway")
def delete_vpn_customer_gateway(call: Call) -> Reply:
    """Refused while it has connections."""
    row = call.need(tables.vpn_customer_gateway, "id")
    if vpn_sites.of_customer(call.tx, row.id):
        raise Refused(f"Unable to delete VPN customer gateway {row.name} because there is still related VPN connections!")
    call.tx.update(tables.vpn_customer_gateway, row.id, removed=call.now, preshared_key="")
    return Accepted((), call.about(CUSTOMER, row), f"deleting VPN customer gateway {row.name}")
