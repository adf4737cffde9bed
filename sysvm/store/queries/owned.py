"""Rows of an owned table with the names of their owner, for answers."""

from typing import Any

import sqlalchemy as sa

from sysvm.store import tables


def names() -> list[sa.ColumnElement[Any]]:
    """Account, domain and project as answers show them; `joined` brings them."""
    account, domain, project = tables.account.c, tables.domain.c, tables.project.c
    return [
        account.name.label("account_name"),
        domain.uuid.label("domain_uuid"),
        domain.name.label("domain_name"),
        domain.path.label("domain_text"),
        project.uuid.label("project_uuid"),
        project.name.label("project_name"),
    ]


def joined(rows: sa.FromClause, table: sa.Table, *, maybe: bool = False) -> sa.Join:
    """`rows` with the owners of `table`; `maybe`: also those that have none."""
    account, domain, project = tables.account, tables.domain, tables.project
    return (
        rows.join(account, account.c.id == table.c.account_id, isouter=maybe)
        .join(domain, domain.c.id == table.c.domain_id, isouter=maybe)
        .outerjoin(project, sa.and_(project.c.project_account_id == account.c.id, project.c.removed.is_(None)))
    )


def with_owner(table: sa.Table) -> sa.Select[Any]:
    """Living rows of `table` with account, domain and project."""
    account = tables.account.c.uuid.label("account_uuid")
    return sa.select(table, account, *names()).select_from(joined(table, table)).where(table.c.removed.is_(None))
