"""What a tenant does: a template, a network, two guests, a rule that lets the world in, a console. Through the API only."""

import urllib.request

from sysvm.basics.errors import NotYet
from sysvm.cli.client import Client, Json
from sysvm.cli.demo.zone import one

OFFERING = "DefaultIsolatedNetworkOfferingWithSourceNatService"
GUESTS = ("one", "two")


def register_template(client: Client, zone: str, hypervisor: str, url: str, checksum: str) -> Json:
    """The guest template's row."""
    found = one(client, "listTemplates", "template", "tiny", templatefilter="self", zoneid=zone)
    if found is not None:
        return found
    (os_type, *_) = client.rows("listOsTypes", "ostype", description="Other Linux (64-bit)")
    made = client.call(
        "registerTemplate",
        name="tiny",
        displaytext="A tiny Linux that serves a page",
        format="QCOW2",
        hypervisor=hypervisor,
        ostypeid=os_type["id"],
        url=url,
        checksum=checksum,
        zoneid=zone,
    )
    return dict(made["template"][0])


def template_is_ready(client: Client, zone: str, template: str) -> Json:
    """The template's row once it is downloaded. Raises NotYet, with the progress."""
    (row,) = client.rows("listTemplates", "template", templatefilter="self", zoneid=zone, id=template)
    if not row["isready"]:
        raise NotYet(0, row.get("status") or "waiting")
    return row


def make_network(client: Client, zone: str) -> Json:
    """An isolated network with source NAT."""
    found = one(client, "listNetworks", "network", "demo", zoneid=zone)
    if found is not None:
        return found
    (offering,) = client.rows("listNetworkOfferings", "networkoffering", name=OFFERING)
    made = client.call("createNetwork", name="demo", displaytext="demo", networkofferingid=offering["id"], zoneid=zone)
    return dict(made["network"])


def deploy(client: Client, zone: str, template: str, network: str) -> list[Json]:
    """Both guests, running. The router appears with the first."""
    (offering, *_) = client.rows("listServiceOfferings", "serviceoffering", issystem="false")
    waiting: list[str] = []
    for name in GUESTS:
        if one(client, "listVirtualMachines", "virtualmachine", name, zoneid=zone) is None:
            accepted = client.call(
                "deployVirtualMachine",
                name=name,
                serviceofferingid=offering["id"],
                templateid=template,
                zoneid=zone,
                networkids=network,
            )
            waiting.append(accepted["id"])
    return [row for name in GUESTS if (row := one(client, "listVirtualMachines", "virtualmachine", name)) is not None]


def guests_run(client: Client) -> list[Json]:
    """Both guests once they run. Raises NotYet."""
    rows = [one(client, "listVirtualMachines", "virtualmachine", name) for name in GUESTS]
    states = {name: row["state"] if row else "missing" for name, row in zip(GUESTS, rows, strict=True)}
    if set(states.values()) != {"Running"}:
        if "Error" in states.values():
            raise RuntimeError(f"a guest could not be started: {states}")
        raise NotYet(0, ", ".join(f"{name} is {state}" for name, state in states.items()))
    return [row for row in rows if row is not None]


def let_world_in(client: Client, network: str, guest: str) -> str:
    """Port 80 of the network's address leads to the guest; the address. Guests may go out."""
    (address,) = client.rows("listPublicIpAddresses", "publicipaddress", associatednetworkid=network, issourcenat="true")
    if not client.rows("listPortForwardingRules", "portforwardingrule", ipaddressid=address["id"]):
        client.job(
            "createPortForwardingRule",
            ipaddressid=address["id"],
            protocol="tcp",
            publicport=80,
            privateport=80,
            virtualmachineid=guest,
            openfirewall="true",
        )
    if not client.rows("listEgressFirewallRules", "firewallrule", networkid=network):
        client.job("createEgressFirewallRule", networkid=network, protocol="all", cidrlist="10.1.1.0/24")
    return str(address["ipaddress"])


def page_of(address: str) -> str:
    """The page that the guest serves to the world. Raises NotYet while nobody answers."""
    try:
        with urllib.request.urlopen(f"http://{address}/", timeout=3) as answer:
            return str(answer.read(4096).decode(errors="replace"))
    except OSError as error:
        raise NotYet(0, f"http://{address}/ does not answer yet: {error}") from error


def open_console(client: Client, guest: str) -> str:
    """The address of the guest's screen; it works once and for a minute. Raises NotYet while no proxy has room."""
    answer = client.call("createConsoleEndpoint", virtualmachineid=guest)["consoleendpoint"]
    if not answer["success"]:
        raise NotYet(0, answer.get("details", ""))
    return str(answer["url"])


def console_answers(url: str) -> None:
    """The proxy serves the page. Raises NotYet."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            answer.read(64)
    except OSError as error:
        raise NotYet(0, f"{url.partition('?')[0]} does not answer yet: {error}") from error
