"""Domains, accounts, users, roles and projects as answers show them."""

from collections.abc import Mapping, Sequence
from typing import Any

from sysvm.api.answers.times import stamp
from sysvm.store.queries.limits import Kind, Standing
from sysvm.store.store import Row

# The words that CloudStack puts before limit, total and available.
WORDS = {
    Kind.GUESTS: "vm", Kind.PUBLIC_IPS: "ip", Kind.VOLUMES: "volume", Kind.SNAPSHOTS: "snapshot",
    Kind.TEMPLATES: "template", Kind.PROJECTS: "project", Kind.NETWORKS: "network", Kind.VPCS: "vpc", Kind.CPUS: "cpu",
    Kind.MEMORY: "memory", Kind.PRIMARY_STORAGE: "primarystorage", Kind.SECONDARY_STORAGE: "secondarystorage",
}  # fmt: skip
UNLIMITED = "Unlimited"


def limits(standings: Mapping[Kind, Standing]) -> dict[str, Any]:
    """vmlimit "20", vmtotal 3, vmavailable "17": limits are text because of "Unlimited"."""
    shown: dict[str, Any] = {}
    for kind, standing in standings.items():
        word = WORDS[kind]
        unlimited = standing.most < 0
        shown[f"{word}limit"] = UNLIMITED if unlimited else str(standing.most)
        shown[f"{word}total"] = standing.used
        shown[f"{word}available"] = UNLIMITED if unlimited else str(max(0, standing.most - standing.used))
    return shown


def domain(row: Row, parent: Row | None, *, has_child: bool, standings: Mapping[Kind, Standing]) -> dict[str, Any]:
    """A domain; `path` with slashes as users write it."""
    answer: dict[str, Any] = {
        "id": row.uuid, "name": row.name, "level": row.level, "haschild": has_child, "path": row.path,
        "state": row.state, "created": stamp(row.created), "hasannotations": False,
    }  # fmt: skip
    if parent is not None:
        answer |= {"parentdomainid": parent.uuid, "parentdomainname": parent.name}
    if row.network_domain:
        answer["networkdomain"] = row.network_domain
    return answer | limits(standings)


def account(row: Row, users: Sequence[dict[str, Any]], standings: Mapping[Kind, Standing], running: int) -> dict[str, Any]:
    """An account; the row carries role and domain."""
    answer: dict[str, Any] = {
        "id": row.uuid, "name": row.name, "accounttype": row.type, "roleid": row.role_uuid, "roletype": row.role_type,
        "rolename": row.role_name, "domainid": row.domain_uuid, "domain": row.domain_name,
        "domainpath": row.domain_text, "state": row.state, "created": stamp(row.created),
        "isdefault": row.id <= 2, "iscleanuprequired": False, "groups": [], "user": list(users),
    }  # fmt: skip
    if row.network_domain:
        answer["networkdomain"] = row.network_domain
    if row.details:
        answer["accountdetails"] = row.details
    if Kind.GUESTS in standings:
        answer |= {"vmrunning": running, "vmstopped": standings[Kind.GUESTS].used - running}
    return answer | limits(standings)


def user(row: Row, *, below: bool = False) -> dict[str, Any]:
    """A user; the row carries account, role and domain. `below`: of a domain below the caller's."""
    answer = {
        "id": row.uuid, "username": row.username, "firstname": row.firstname, "lastname": row.lastname,
        "email": row.email, "created": stamp(row.created), "state": row.state, "account": row.account_name,
        "accounttype": row.account_type, "accountid": row.account_uuid, "usersource": row.source,
        "roleid": row.role_uuid, "roletype": row.role_type, "rolename": row.role_name, "domainid": row.domain_uuid,
        "domain": row.domain_name, "isdefault": row.id <= 2, "iscallerchilddomain": below, "is2faenabled": False,
        "is2famandated": False,
    }  # fmt: skip
    if row.timezone:
        answer["timezone"] = row.timezone
    if row.api_key:
        answer["apikey"] = row.api_key
    return answer


def role(row: Row) -> dict[str, Any]:
    """A role."""
    return {
        "id": row.uuid, "name": row.name, "type": row.type, "description": row.description, "isdefault": row.is_default,
    }  # fmt: skip


def role_permission(row: Row, of: Row) -> dict[str, Any]:
    """A rule of a role."""
    return {
        "id": row.uuid, "roleid": of.uuid, "rolename": of.name, "rule": row.rule, "permission": row.permission,
        "description": row.description,
    }  # fmt: skip


def project(row: Row, tags: Sequence[dict[str, Any]], standings: Mapping[Kind, Standing], running: int) -> dict[str, Any]:
    """A project; the row carries owner, domain and the name of the project's own account."""
    answer: dict[str, Any] = {
        "id": row.uuid, "name": row.name, "displaytext": row.display_text, "state": row.state,
        "domainid": row.domain_uuid, "domain": row.domain_name, "projectaccountname": row.project_account_name,
        "owner": [{"account": row.owner_name}], "created": stamp(row.created), "tags": list(tags),
    }  # fmt: skip
    if Kind.GUESTS in standings:
        answer |= {"vmrunning": running, "vmstopped": standings[Kind.GUESTS].used - running}
    return answer | limits(standings)
