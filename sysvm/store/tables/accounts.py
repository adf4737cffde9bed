"""Who there is: domains, accounts, users, roles, limits, tags."""

import sqlalchemy as sa

from sysvm.store.tables.base import data, flag, instant, key, life, metadata, number, owner, ref, text, uuid

domain = sa.Table(
    "domain",
    metadata,
    key(),
    uuid(),
    text("name"),
    text("path"),  # as users see it: ROOT/east
    sa.Column("id_path", sa.String(255), nullable=False, index=True),  # /1/4/
    ref("parent_id", "domain", null=True),
    number("level"),
    text("network_domain"),
    text("state", "Active"),
    *life(),
)

role = sa.Table(
    "role", metadata, key(), uuid(), text("name"), text("type"), text("description"), flag("is_default"),
    flag("by_type"),  # what no rule names is decided by the role's type; else it is denied
    *life(),
)  # fmt: skip

role_permission = sa.Table(
    "role_permission",
    metadata,
    key(),
    uuid(),
    ref("role_id", "role"),
    text("rule"),
    text("permission"),
    text("description"),
    number("sort_order"),
)

account = sa.Table(
    "account",
    metadata,
    key(),
    uuid(),
    text("name"),
    number("type"),  # 0 user, 1 root admin, 2 domain admin
    ref("role_id", "role"),
    ref("domain_id", "domain"),
    sa.Column("domain_path", sa.String(255), nullable=False, index=True),
    text("state", "enabled"),
    text("network_domain"),
    number("default_zone_id", null=True, default=None),
    data("details"),
    *life(),
)

user = sa.Table(
    "user",
    metadata,
    key(),
    uuid(),
    text("username"),
    text("password_hash"),
    ref("account_id", "account"),
    text("firstname"),
    text("lastname"),
    text("email"),
    text("timezone"),
    text("state", "enabled"),
    sa.Column("api_key", sa.String(128), nullable=True, unique=True),
    text("secret_key", None, null=True),  # encrypted
    text("source", "native"),
    *life(),
)

project = sa.Table(
    "project",
    metadata,
    key(),
    uuid(),
    text("name"),
    text("display_text"),
    ref("project_account_id", "account"),
    text("state", "Active"),
    *owner(),
    *life(),
)

resource_limit = sa.Table(
    "resource_limit",
    metadata,
    key(),
    number("resource_type"),
    number("account_id", null=True, default=None),
    number("domain_id", null=True, default=None),
    number("max", -1),
)

tag = sa.Table(
    "tag",
    metadata,
    key(),
    uuid(),
    text("resource_type", length=64),
    number("resource_id"),
    text("resource_uuid"),
    text("key"),
    text("value"),
    text("customer"),
    *owner(),
    instant("created", null=False),
    sa.Index("ix_tag_resource", "resource_type", "resource_id"),
)

resource_detail = sa.Table(
    "resource_detail",
    metadata,
    key(),
    text("resource_type", length=64),
    number("resource_id"),
    text("key"),
    text("value"),
    flag("for_display", True),
    instant("created", null=False),
    sa.UniqueConstraint("resource_type", "resource_id", "key"),
    comment="what administrators note on things; those that have a column details keep theirs there",
)

ssh_key_pair = sa.Table(
    "ssh_key_pair",
    metadata,
    key(),
    uuid(),
    text("name"),
    text("public_key"),
    text("fingerprint"),
    *owner(),
    *life(),
)

user_data = sa.Table("user_data", metadata, key(), uuid(), text("name"), text("userdata"), text("params"), *owner(), *life())
