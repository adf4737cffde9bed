"""What happened and what is set: events, alerts, settings, usage, console sessions, certificates."""

import sqlalchemy as sa

from sysvm.store.tables.base import Id, data, flag, instant, key, metadata, number, owner, ref, text, uuid

event = sa.Table(
    "event",
    metadata,
    key(),
    uuid(),
    text("type", length=64),
    text("level", "INFO"),
    text("state", "Completed"),  # Created | Scheduled | Started | Completed
    text("description"),
    number("user_id", null=True, default=None),
    *owner(),
    number("parent_id", null=True, default=None),
    text("resource_type"),
    number("resource_id", null=True, default=None),
    text("resource_uuid"),
    text("resource_name"),
    flag("archived"),
    instant("created", null=False),
    sa.Index("ix_event_created", "created"),
)

alert = sa.Table(
    "alert",
    metadata,
    key(),
    uuid(),
    number("type"),
    text("name"),
    text("subject"),
    text("content"),
    number("zone_id", null=True, default=None),
    number("pod_id", null=True, default=None),
    number("cluster_id", null=True, default=None),
    instant("sent", null=False),
    number("sent_count", 1),
    instant("resolved"),
    flag("archived"),
    flag("to_mail"),
)
TO_MAIL = sa.text("to_mail")
sa.Index("ix_alert_to_mail", alert.c.id, sqlite_where=TO_MAIL, postgresql_where=TO_MAIL)

setting = sa.Table(
    "setting",
    metadata,
    key(),
    text("scope", "global", length=16),  # global | zone | cluster | account | domain | pool | imagestore
    sa.Column("scope_id", Id, nullable=False, default=0),
    text("name", length=255),
    text("value", None, null=True),  # encrypted when the setting is hidden
    instant("updated"),
    sa.UniqueConstraint("scope", "scope_id", "name"),
)

usage_interval = sa.Table(
    "usage_interval",
    metadata,
    key(),
    number("usage_type"),
    ref("zone_id", "zone"),
    *owner(),
    text("resource_uuid"),
    text("description"),
    data("details"),
    number("amount"),
    instant("began", null=False),
    instant("ended"),
    sa.Index("ix_usage_interval_resource_uuid_began", "resource_uuid", "usage_type", "began"),
    sa.Index("ix_usage_interval_began", "began"),
)

console_session = sa.Table(
    "console_session",
    metadata,
    key(),
    uuid(),
    ref("machine_id", "machine"),
    ref("proxy_id", "machine"),
    ref("host_id", "host", null=True),
    ref("user_id", "user"),
    sa.Column("ticket_hash", sa.String(64), nullable=False, unique=True),
    instant("ticket_until", null=False),
    text("creator_address"),
    text("client_address"),
    text("extra_token_hash"),
    instant("acquired"),
    instant("attached"),
    text("resume_hash", null=True, default=None, length=64),
    text("resume_before", null=True, default=None, length=64),
    number("round_trip_us", null=True, default=None),
    instant("ended"),
    *owner(),
    instant("created", null=False),
    sa.Index("ix_console_session_resume_hash", "resume_hash"),
    sa.Index("ix_console_session_resume_before", "resume_before"),
    sa.Index("ix_console_session_proxy_id_open", "proxy_id", "ended"),
    comment="the secret of a session works until the page has used the next one",
)

certificate = sa.Table(
    "certificate",
    metadata,
    key(),
    text("name"),
    text("pem"),
    text("private_key", None, null=True),  # encrypted
    text("domain_suffix"),
    number("seq", null=True, default=None),
    instant("created", null=False),
    comment="the keystore of uploadCustomCertificate",
)

annotation = sa.Table(
    "annotation",
    metadata,
    key(),
    uuid(),
    text("text"),
    text("entity_type"),
    text("entity_uuid"),
    ref("user_id", "user"),
    flag("admins_only"),
    instant("created", null=False),
    instant("removed"),
)
