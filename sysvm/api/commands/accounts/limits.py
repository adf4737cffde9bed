"""Limits of accounts, projects and domains."""

from collections.abc import Iterable
from typing import Any

from sysvm.api import errors
from sysvm.api.call import Call, One, Reply, Rows
from sysvm.api.handlers import handler
from sysvm.api.listing import slice_rows
from sysvm.basics.errors import Refused
from sysvm.store import tables
from sysvm.store.queries import limits
from sysvm.store.queries.events import About
from sysvm.store.queries.limits import Kind
from sysvm.store.store import Row

ROOT_DOMAIN = 1


def _kinds(call: Call) -> Iterable[Kind]:
    name = call.get("resourcetypename")
    if name:
        found = [kind for kind, known in limits.NAMES.items() if known == name.lower()]
        if not found:
            raise Refused(f"Please specify a valid resource type name: {', '.join(limits.NAMES.values())}")
        return found
    return [_kind(call["resourcetype"])] if "resourcetype" in call else list(Kind)


def _kind(number: int) -> Kind:
    if number not in set(Kind):
        raise Refused("Please specify a valid resource type: a number from 0 to 11")
    return Kind(number)


def _whose(call: Call) -> tuple[Row | None, Row | None, Row | None]:
    """(account, domain, project) that is asked about; nothing given: the caller's account."""
    project = call.row(tables.project, "projectid")
    if project is not None:
        return call.tx.get(tables.account, project.project_account_id), None, project
    account = call.named_account()
    if account is not None:
        return account, None, None
    domain = call.row(tables.domain, "domainid")
    if domain is not None:
        return None, domain, None
    return call.tx.get(tables.account, call.caller.account_id), None, None


def _about(call: Call, account: Row | None, domain: Row | None, project: Row | None) -> dict[str, Any]:
    place = domain if domain is not None else call.tx.get(tables.domain, account.domain_id) if account is not None else None
    shown: dict[str, Any] = {"domainid": place.uuid, "domain": place.name} if place is not None else {}
    if project is not None:
        return {**shown, "projectid": project.uuid, "project": project.name}
    return {**shown, "account": account.name} if account is not None else shown


def _limit(kind: Kind, most: int, whose: dict[str, Any]) -> dict[str, Any]:
    return {**whose, "resourcetype": str(int(kind)), "resourcetypename": limits.NAMES[kind], "max": most}


@handler("listResourceLimits")
def list_resource_limits(call: Call) -> Rows:
    """The limits in force for an account, a project or a domain."""
    account, domain, project = _whose(call)
    whose = _about(call, account, domain, project)
    return slice_rows(call, [_limit(kind, _most(call, kind, account, domain), whose) for kind in _kinds(call)])


def _most(call: Call, kind: Kind, account: Row | None, domain: Row | None) -> int:
    if account is not None:
        return limits.most_of_account(call.tx, kind, account.id, account.type)
    assert domain is not None
    return limits.most_of_domain(call.tx, kind, domain.id)


@handler("updateResourceLimit")
def update_resource_limit(call: Call) -> Reply:
    """Sets a limit; -1, or none given, is no limit."""
    kind = _kind(call["resourcetype"])
    most = call.get("max", limits.NO_LIMIT)
    if most < limits.NO_LIMIT:
        raise Refused("Please specify either '-1' for an infinite limit, or a limit that is at least '0'.")
    account, domain, project = _whose(call)
    if domain is not None and domain.id == ROOT_DOMAIN:
        raise Refused("Can't update limit for root domain")
    if domain is not None and domain.id == call.caller.domain_id and not call.caller.is_root:
        raise errors.no_access(call.caller.account_name, f"the limits of its own domain {domain.uuid}")
    if account is not None and account.id == call.caller.account_id and not call.caller.is_root:
        raise errors.no_access(call.caller.account_name, "its own limits")
    limits.set_limit(call.tx, kind, most, account_id=account.id if account else None,
                     domain_id=domain.id if domain else None)  # fmt: skip
    whose = _about(call, account, domain, project)
    owner = account if account is not None else domain
    assert owner is not None
    about = About("Account" if account else "Domain", owner.id, owner.uuid, owner.name)
    return One(_limit(kind, most, whose), about, f"limit of {limits.NAMES[kind]} of {owner.name}: {most}")


@handler("updateResourceCount")
def update_resource_count(call: Call) -> Reply:
    """How much there is. It is counted each time, so there is nothing to be put right."""
    account, domain, project = _whose(call)
    whose = _about(call, account, domain, project)
    rows = []
    for kind in _kinds(call):
        if account is not None:
            amount = limits.used(call.tx, kind, account_id=account.id)
        else:
            assert domain is not None
            amount = limits.used(call.tx, kind, domain_path=domain.id_path)
        rows.append({**whose, "resourcetype": str(int(kind)), "resourcetypename": limits.NAMES[kind], "resourcecount": amount})
    return Rows(rows, len(rows))
