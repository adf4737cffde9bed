"""The two questions about live rules, as the router's role answers them. Blocking: programs are run."""

from ipaddress import ip_address

from sysvm.agent.roles.router.explaining import listed, live
from sysvm.agent.roles.router.explaining.owners import Owners
from sysvm.agent.roles.router.explaining.packet import Packet
from sysvm.agent.roles.router.explaining.way import Kernel, Way
from sysvm.basics.errors import Refused
from sysvm.wire.documents import RouterDocument
from sysvm.wire.explaining import Explained, ExplainPacket, RulesShown

_KERNEL = Kernel(live.route, live.neighbour, live.listens, live.primary)


def explain(asked: ExplainPacket, document: RouterDocument) -> Explained:
    """What becomes of the packet. Raises Refused for one that cannot be."""
    return Way(live.read(), Owners(document), _KERNEL, packet(asked)).explain()


def show(document: RouterDocument) -> RulesShown:
    """The live rules."""
    return listed.shown(live.read(), Owners(document))


def packet(asked: ExplainPacket) -> Packet:
    """The packet that is asked about. Raises Refused."""
    try:
        source, destination = ip_address(asked.source), ip_address(asked.destination)
    except ValueError as error:
        raise Refused(str(error)) from None
    if source.version != destination.version:
        raise Refused(f"{source} and {destination} are not of one family")
    return Packet(source, destination, asked.protocol, asked.source_port, asked.port, asked.icmp_type, asked.icmp_code)
