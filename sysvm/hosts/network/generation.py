"""The generation of a namespace's nftables rules: a number that each transaction of anybody raises by one.

Equal numbers mean that nothing has changed in between, and cost a message; a listing of ten thousand elements costs half a
second.
"""

import socket
import struct

from sysvm.basics.errors import Broken
from sysvm.hosts.system.netns import socket_in

_NETFILTER = 12  # NETLINK_NETFILTER
_HEADER = struct.Struct("=IHHII")
_FAMILY = 4  # bytes of nfgenmsg
_GETGEN = 10 << 8 | 16  # NFNL_SUBSYS_NFTABLES, NFT_MSG_GETGEN
_REQUEST = 1
_ATTRIBUTE = struct.Struct("=HH")
_GEN_ID = 1  # NFTA_GEN_ID


def question() -> bytes:
    """What the kernel is asked."""
    return _HEADER.pack(_HEADER.size + _FAMILY, _GETGEN, _REQUEST, 1, 0) + bytes(_FAMILY)


def parse(answer: bytes) -> int:
    """The number in the kernel's answer."""
    at = _HEADER.size + _FAMILY
    while at + _ATTRIBUTE.size <= len(answer):
        length, kind = _ATTRIBUTE.unpack_from(answer, at)
        if kind == _GEN_ID:
            return int.from_bytes(answer[at + _ATTRIBUTE.size : at + length], "big")
        at += max(_ATTRIBUTE.size, (length + 3) & ~3)
    raise Broken("the kernel tells no nftables generation")


def ruleset_generation(namespace: str) -> int:
    """As it is now. The kernel answers while it is asked: nothing is waited for."""
    with socket_in(namespace, socket.AF_NETLINK, socket.SOCK_RAW, _NETFILTER) as handle:
        handle.sendto(question(), (0, 0))
        return parse(handle.recv(4096))
