"""IPv6 of public ranges: where the routers of dual-stack networks have their addresses. It may be a range's only family.

Routers alone get them: a guest's own address is public. They are not dedicated to anybody, and no usage is recorded.
"""

from ipaddress import IPv6Network
from typing import Any

import sqlalchemy as sa

from sysvm.api.call import Call
from sysvm.api.rules import ranges6
from sysvm.basics.errors import Refused
from sysvm.store import tables
from sysvm.store.queries import prefixes6
from sysvm.store.store import Tx
from sysvm.store.tables import pack_address


def columns(call: Call) -> dict[str, Any]:
    """Of the range's row; none for a call that does not speak of IPv6. Refused when its subnet is something else's."""
    span = ranges6.span(call.params)
    if span is None:
        return {}
    free_of_others(call.tx, span.subnet)
    ends = {"first6": pack_address(span.first), "last6": pack_address(span.last)}
    return {"ip6_gateway": str(span.gateway), "ip6_cidr": str(span.subnet), **ends}


def free_of_others(tx: Tx, subnet: IPv6Network) -> None:
    """Refused when the operator has given addresses of the subnet to something else."""
    pool = tables.ip_range.c
    for text in tx.all(sa.select(pool.ip6_cidr).where(pool.removed.is_(None), pool.ip6_cidr != "").distinct()):
        if subnet.overlaps(IPv6Network(text.ip6_cidr)):
            raise Refused(f"The IPv6 subnet {subnet} overlaps {text.ip6_cidr}, that of another range")
    for prefix in prefixes6.living(tx):
        if subnet.overlaps(prefix):
            raise Refused(f"The IPv6 subnet {subnet} overlaps the prefix {prefix} of guest networks")


def add(call: Call, six: dict[str, Any], **where: Any) -> int:
    """A range of IPv6 alone; its id."""
    return call.tx.insert(
        tables.ip_range, uuid=call.ids.uuid(), traffic="Public", for_system_vms=False, created=call.now, **where, **six
    )
