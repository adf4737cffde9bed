"""What keepalived and conntrackd of a router in a pair are told. Pure.

The two speak to each other's own address only: a guest can neither hear them nor make itself one of them, because its port lets
no other address out and the router takes such words from its peer's address only. Both begin as backups and nobody preempts: who
serves goes on, also when the other one comes back. An entry that the peer tells of goes into the kernel's table at once, so
that nothing has to be done for connections when this one begins to serve.
"""

from ipaddress import ip_interface
from pathlib import Path

import msgspec

from sysvm.agent.roles.router.service import Wrong, address, device
from sysvm.wire.documents import Interface, RouterDocument
from sysvm.wire.redundancy import Redundancy

ROUTER_ID = 51  # as CloudStack's; each pair has a network of its own
PORT = 3780  # of conntrackd
VRRP = 112  # IP protocol
OWNER = 255  # the priority of who has the addresses already


class Pair(msgspec.Struct, frozen=True):
    """A router of a pair, checked."""

    device: str
    own: str
    peer: str
    priority: int
    interval_s: int
    gateway: str  # the shared address of the guests' network, with prefix
    shared: tuple[tuple[str, str], ...]  # all others: address with prefix, interface
    ways_out: tuple[tuple[str, str], ...]  # gateway, interface


def render(document: RouterDocument) -> Pair | None:
    """None for a router that is alone. Raises Wrong."""
    said = document.redundancy
    if said is None:
        return None
    name = device(said.device, "redundancy")
    peer = address(said.peer, "redundancy") if said.peer else ""
    if not 1 <= said.priority < OWNER or not 1 <= said.interval_s <= 255:
        raise Wrong("redundancy: priority and interval are 1 to 254", "correct router.redundant.vrrp.interval")
    held = [(_checked(text), each.device) for each in document.interfaces for text in shared_by(said, each)]
    gateway = next((text for text, on in held if on == name and ":" not in text), "")
    if not gateway:
        raise Wrong(f"redundancy: {name} has no shared address", "the guests' gateway is one")
    return Pair(
        device=name,
        own=address(said.own, "redundancy"),
        peer=peer,
        priority=said.priority,
        interval_s=said.interval_s,
        gateway=gateway,
        shared=tuple(each for each in held if each != (gateway, name)),
        ways_out=tuple((way, each.device) for each in document.interfaces for way in (each.gateway, each.gateway6) if way),
    )


def _checked(text: str) -> str:
    try:
        return str(ip_interface(text))
    except ValueError:
        raise Wrong(f"redundancy: {text!r} is no address with a prefix", "give it as 10.1.1.1/24") from None


def shared_by(said: Redundancy | None, each: Interface) -> tuple[str, ...]:
    """Addresses of an interface that only one router of the pair has."""
    return tuple(text for text in each.addresses if text in said.shared) if said is not None else ()


def as_backup(document: RouterDocument) -> RouterDocument:
    """What is there of it while the other one serves."""
    said = document.redundancy
    if said is None:
        return document
    own = tuple(
        msgspec.structs.replace(
            each,
            addresses=tuple(text for text in each.addresses if text not in said.shared),
            gateway=None,
            gateway6=None,
        )
        for each in document.interfaces
    )
    return msgspec.structs.replace(document, interfaces=own)


def doors(document: RouterDocument) -> tuple[str, ...]:
    """Rules of the input chain: the other one of the pair is heard. Raises Wrong."""
    pair = render(document)
    if pair is None or not pair.peer:
        return ()
    who = f'iifname "{pair.device}" ip saddr {pair.peer}'
    return (f"{who} ip protocol {VRRP} accept", f"{who} udp dport {PORT} accept")


def keepalived(pair: Pair, *, serves: bool) -> str:
    """The file of keepalived; `serves`: it has the addresses already, and takes them over from itself."""
    # From multicast to a peer keepalived would go by way of backup; to itself it says nothing, and stays what it is.
    peers = f"  unicast_peer {{\n    {pair.peer or pair.own}\n  }}"
    begins = [f"  state {'MASTER' if serves else 'BACKUP'}", f"  priority {OWNER if serves else pair.priority}"]
    begins += [] if serves else ["  nopreempt"]
    others = "\n".join(f"    {text} dev {name}" for text, name in pair.shared)
    ways = "\n".join(f"    {'::/0' if ':' in way else '0.0.0.0/0'} via {way} dev {name}" for way, name in pair.ways_out)
    lines = [
        "global_defs {",
        "  vrrp_version 2",
        "  vrrp_garp_master_delay 1",  # once more after a second: switches learn late
        "  vrrp_garp_master_repeat 3",
        "}",
        "vrrp_instance gateway {",
        f"  interface {pair.device}",
        *begins,
        f"  virtual_router_id {ROUTER_ID}",
        f"  advert_int {pair.interval_s}",
        f"  unicast_src_ip {pair.own}",
        peers,
        f"  virtual_ipaddress {{\n    {pair.gateway} dev {pair.device}\n  }}",
        *([f"  virtual_ipaddress_excluded {{\n{others}\n  }}"] if others else []),
        *([f"  virtual_routes {{\n{ways}\n  }}"] if ways else []),
        "}",
        "",
    ]
    return "\n".join(lines)


def conntrackd(pair: Pair, folder: Path) -> str:
    """The file of conntrackd."""
    # A handshake is not told of before it was answered: where only its beginning is known, the rest of it is no valid packet.
    # Where nothing is known, it is a connection that is new there, with the same addresses and ports.
    states = "SYN_RECV ESTABLISHED FIN_WAIT CLOSE_WAIT LAST_ACK TIME_WAIT CLOSED"
    own = dict.fromkeys(("127.0.0.1", pair.own, pair.peer, pair.gateway.partition("/")[0]))
    ignored = "\n".join(f"      IPv4_address {each}" for each in own)
    return f"""Sync {{
  Mode FTFW {{
    DisableExternalCache On
    StartupResync On
  }}
  UDP {{
    IPv4_address {pair.own}
    IPv4_Destination_Address {pair.peer}
    Port {PORT}
    Interface {pair.device}
    Checksum On
  }}
}}
General {{
  HashSize 32768
  HashLimit 262144
  LockFile {folder}/conntrackd.lock
  UNIX {{
    Path {folder}/conntrackd.ctl
  }}
  NetlinkBufferSize 2097152
  NetlinkBufferSizeMaxGrowth 8388608
  NetlinkEventsReliable On
  Filter From Kernelspace {{
    Address Ignore {{
{ignored}
    }}
    State Accept {{
      {states} for TCP
    }}
  }}
}}
"""
