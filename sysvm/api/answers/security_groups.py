"""Security groups as answers show them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sysvm.api.answers.owners import owner, without_empty
from sysvm.store.queries import security_groups
from sysvm.store.store import Row


@dataclass(frozen=True, slots=True)
class GroupView:
    """A group with what its row shows besides."""

    row: Row  # with the names around it
    rules: Sequence[Row] = ()
    others: dict[int, tuple[str, str]] = field(default_factory=dict)  # name and account of groups that rules speak of
    guests: Sequence[str] = ()


def group(view: GroupView) -> dict[str, Any]:
    """A group with its rules and guests."""
    row, mine = view.row, owner(view.row)
    mine.pop("domainpath", None)
    return {
        "id": row.uuid,
        "name": row.name,
        "description": row.description,
        **mine,
        "ingressrule": _rules(view, security_groups.INGRESS),
        "egressrule": _rules(view, security_groups.EGRESS),
        "virtualmachinecount": len(view.guests),
        "virtualmachineids": list(view.guests),
        "tags": [],
    }


def _rules(view: GroupView, direction: str) -> list[dict[str, Any]]:
    return [_rule(rule, view.others) for rule in view.rules if rule.direction == direction]


def _rule(row: Row, others: dict[int, tuple[str, str]]) -> dict[str, Any]:
    name, account = others.get(row.other_group_id, (None, None))
    answer = {
        "ruleid": row.uuid,
        "protocol": row.protocol,
        "startport": row.first_port,
        "endport": row.last_port,
        "icmptype": row.icmp_type,
        "icmpcode": row.icmp_code,
        "cidr": row.cidr or None,
        "securitygroupname": name,
        "account": account,
    }
    return {**without_empty(answer), "tags": []}


def of_guest(row: Row) -> dict[str, Any]:
    """A group as it stands in its guest's answer."""
    return {"id": row.uuid, "name": row.name, "description": row.description}
