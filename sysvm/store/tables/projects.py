"""Which accounts are in a project beside its owner's, or are invited."""

import sqlalchemy as sa

from sysvm.store.tables.base import key, life, metadata, ref, text, uuid

project_member = sa.Table(
    "project_member",
    metadata,
    key(),
    uuid(),
    ref("project_id", "project"),
    ref("account_id", "account"),
    text("role", length=8),  # Admin | Regular
    text("state", length=8),  # Member | Pending | Declined
    *life(),
)
LIVING = project_member.c.removed.is_(None)
sa.Index("uq_project_member", project_member.c.project_id, project_member.c.account_id, unique=True,
         sqlite_where=LIVING, postgresql_where=LIVING)  # fmt: skip
