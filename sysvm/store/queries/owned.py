"""Rows of an owned table with the names of their owner, for answers."""

from typing import Any

import sqlalchemy as sa

from sysvm.store import tables


def with_owner(table: sa.Table) -> sa.Select[Any]:
    """Living rows of `table` with account, domain and project."""
    account, domain, project = tables.account, tables.domain, tables.project
    joined = (
        table.join(account, account.c.id == table.c.account_id)
        .join(domain, domain.c.id == table.c.domain_id)
        .outerjoin(project, sa.and_(project.c.project_account_id == account.c.id, project.c.removed.is_(None)))
    )
    return (
        sa.select(
            table,
            account.c.uuid.label("account_uuid"),
            account.c.name.label("account_name"),
            domain.c.uuid.label("domain_uuid"),
            domain.c.name.label("domain_name"),
            domain.c.path.label("domain_text"),
            project.c.uuid.label("project_uuid"),
            project.c.name.label("project_name"),
        )
        .select_from(joined)
        .where(table.c.removed.is_(None))
    )
