"""Load balancer rules, their policies and certificates as answers show them."""

from collections.abc import Sequence
from typing import Any

from sysvm.api.answers.owners import owner, without_empty
from sysvm.store.queries import machine_rows
from sysvm.store.store import Row
from sysvm.store.tables import unpack_address

Tags = list[dict[str, Any]]
OWNER = ("account", "domain", "domainid", "project", "projectid")


def rule(row: Row, tags: Tags) -> dict[str, Any]:
    """A rule, from a row with the names around it; its ports are strings, as CloudStack has them."""
    answer = {
        "id": row.uuid,
        "name": row.name,
        "description": row.description,
        "publicipid": row.ip_uuid,
        "publicip": unpack_address(row.ip_address),
        "publicport": str(row.first_port),
        "privateport": str(row.private_first_port),
        "algorithm": row.algorithm,
        "protocol": row.carried,
        "networkid": row.network_uuid,
        "cidrlist": ",".join(row.sources or ()),
        "state": row.state,
        "zoneid": row.zone_uuid,
        "zonename": row.zone_name,
        "fordisplay": bool(row.for_display),
        **_owner(row),
    }
    return {**without_empty(answer), "tags": tags}


def internal(row: Row, guests: Sequence[Row], tags: Tags) -> dict[str, Any]:
    """A load balancer of a tier, with the guests behind it."""
    answer = {
        "id": row.uuid,
        "name": row.name,
        "description": row.description,
        "algorithm": row.algorithm,
        "networkid": row.network_uuid,
        "sourceipaddress": unpack_address(row.source_address),
        "sourceipaddressnetworkid": row.network_uuid,
        "fordisplay": bool(row.for_display),
        "loadbalancerrule": [{"sourceport": row.first_port, "instanceport": row.private_first_port, "state": row.state}],
        "loadbalancerinstance": [
            {
                "id": guest.uuid,
                "name": guest.hostname or guest.display_name,
                "state": machine_rows.state_of(guest),
                "ipaddress": unpack_address(guest.member_address),
            }
            for guest in guests
        ],
        **_owner(row),
    }
    return {**without_empty(answer), "tags": tags}


def _owner(row: Row) -> dict[str, Any]:
    return {name: value for name, value in owner(row).items() if name in OWNER}


def _around(balancer: Row) -> dict[str, Any]:
    whose = {name: value for name, value in _owner(balancer).items() if not name.startswith("project")}
    return {"lbruleid": balancer.uuid, "zoneid": balancer.zone_uuid, **whose}


def stickiness(balancer: Row, policies: Sequence[Row]) -> dict[str, Any]:
    """The stickiness of a rule."""
    listed = [
        {
            "id": row.uuid,
            "name": row.name,
            "description": row.description,
            "methodname": row.method,
            "params": dict(row.params or {}),
            "state": row.state,
            "fordisplay": bool(row.for_display),
        }
        for row in policies
    ]
    return {**_around(balancer), "stickinesspolicy": listed}


def health_checks(balancer: Row, policies: Sequence[Row]) -> dict[str, Any]:
    """The health check of a rule."""
    listed = [
        {
            "id": row.uuid,
            "description": row.description,
            "pingpath": row.ping_path,
            "responsetime": row.response_s,
            "healthcheckinterval": row.interval_s,
            "healthcheckthresshold": row.healthy,
            "unhealthcheckthresshold": row.unhealthy,
            "state": row.state,
            "fordisplay": bool(row.for_display),
        }
        for row in policies
    ]
    return {**_around(balancer), "healthcheckpolicy": listed}


def certificate(row: Row, rules: Sequence[Row]) -> dict[str, Any]:
    """A certificate; never its key."""
    answer = {
        "id": row.uuid,
        "name": row.name,
        "certificate": row.certificate,
        "certchain": row.chain or None,
        "fingerprint": row.fingerprint,
        "loadbalancerrulelist": [each.uuid for each in rules],
        **_owner(row),
    }
    return without_empty(answer)


def service_state(up: bool | None) -> str | None:
    """What the router's checks say of a member."""
    return None if up is None else "UP" if up else "DOWN"
