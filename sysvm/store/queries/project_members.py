"""Who is in a project: its owner, the accounts that were added, and those that are invited."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from sysvm.basics.ids import Ids, SystemIds
from sysvm.store import tables
from sysvm.store.store import Row, Tx

MEMBER, PENDING, DECLINED = "Member", "Pending", "Declined"
ADMIN, REGULAR = "Admin", "Regular"

_ids: Ids = SystemIds()


def of_account(account_id: int) -> sa.Select[Any]:
    """Ids of the projects that the account was added to."""
    member = tables.project_member.c
    mine = (member.account_id == account_id, member.state == MEMBER, member.removed.is_(None))
    return sa.select(member.project_id).where(*mine)


def seats() -> sa.Subquery:
    """Every (project_id, account_id) of owners and members."""
    project, member = tables.project.c, tables.project_member.c
    owners = sa.select(project.id.label("project_id"), project.account_id)
    members = sa.select(member.project_id, member.account_id).where(member.state == MEMBER, member.removed.is_(None))
    return owners.union(members).subquery("seats")


def find(tx: Tx, project_id: int, account_id: int) -> Row | None:
    """What the account is to the project, if it is more than nothing and less than its owner."""
    same = "project_id = :project and account_id = :account and removed is null"
    return next(iter(tx.rows(tables.project_member, same, project=project_id, account=account_id)), None)


def put(tx: Tx, project_id: int, account_id: int, role: str, state: str) -> None:
    """The account has that role in the project, or is offered it."""
    row = find(tx, project_id, account_id)
    if row is not None:
        tx.update(tables.project_member, row.id, role=role, state=state, created=tx.now)
        return
    values = {"uuid": _ids.uuid(), "role": role, "state": state, "created": tx.now}
    tx.insert(tables.project_member, project_id=project_id, account_id=account_id, **values)


def drop(tx: Tx, row: Row) -> None:
    """The account is nothing to the project any more."""
    tx.update(tables.project_member, row.id, removed=tx.now)


def drop_all(tx: Tx, project_id: int) -> None:
    """The project goes."""
    member = tables.project_member
    mine = (member.c.project_id == project_id, member.c.removed.is_(None))
    tx.change(sa.update(member).where(*mine).values(removed=tx.now))


def hand_over(tx: Tx, project: Row, account_id: int) -> None:
    """Another owner; the former one stays as a regular member."""
    if (row := find(tx, project.id, account_id)) is not None:
        drop(tx, row)
    if project.account_id != account_id:
        put(tx, project.id, project.account_id, REGULAR, MEMBER)
        tx.update(tables.project, project.id, account_id=account_id)


def listing(*states: str) -> sa.Select[Any]:
    """Members or invitations with the names around them."""
    member, project, account, domain = tables.project_member, tables.project, tables.account, tables.domain
    return (
        sa.select(
            member,
            project.c.uuid.label("project_uuid"),
            project.c.name.label("project_name"),
            account.c.uuid.label("account_uuid"),
            account.c.name.label("account_name"),
            account.c.type.label("account_type"),
            account.c.domain_id.label("domain_id"),
            account.c.domain_path.label("domain_path"),
            domain.c.uuid.label("domain_uuid"),
            domain.c.name.label("domain_name"),
            domain.c.path.label("domain_text"),
        )
        .join(project, project.c.id == member.c.project_id)
        .join(account, account.c.id == member.c.account_id)
        .join(domain, domain.c.id == account.c.domain_id)
        .where(member.c.removed.is_(None), project.c.removed.is_(None), member.c.state.in_(states))
        .order_by(member.c.id)
    )


def members(tx: Tx, project_id: int) -> Sequence[Row]:
    """Accounts that were added, oldest first."""
    return tx.all(listing(MEMBER).where(tables.project_member.c.project_id == project_id))
