"""The engine's tables: who works on what, and the jobs that wait for it."""

import sqlalchemy as sa

from sysvm.store.tables.base import Id, data, flag, instant, key, life, metadata, number, ref, text, uuid

cloud = sa.Table(
    "cloud",
    metadata,
    key(),
    uuid(),
    number("epoch", 1),  # which life of the database; raised by recovery from a backup
    flag("read_only"),  # a host has seen a higher epoch
    text("version"),
    text("secrets_check"),  # a known text, encrypted: tells a wrong key file at start
    instant("created", null=False),
    comment="one row: this cloud",
)

session = sa.Table(
    "session",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    instant("until", null=False),
    text("server_uuid"),
    text("server_name"),
    text("address"),
    text("version"),
    instant("started", null=False),
    comment="living server processes; heart-beat 1 s, ttl 5 s",
)

turn = sa.Table(
    "turn",
    metadata,
    sa.Column("kind", sa.String(16), primary_key=True),
    sa.Column("id", Id, primary_key=True),
    instant("due", null=False),
    sa.Column("session", sa.String(36), nullable=True),
    number("fence", 0),
    number("tries", 0),
    number("wish", 0),
    number("stir", 0),  # the world may have changed
    sa.Column("host", Id, nullable=True),  # only the server that holds this host's link may take it
    sa.Index("ix_turn_due", "due"),
    sa.Index("ix_turn_session", "session"),
    comment="what is to be worked on, and by whom",
)

job = sa.Table(
    "job",
    metadata,
    key(),
    uuid(),
    text("command"),
    ref("user_id", "user"),
    ref("account_id", "account"),
    ref("domain_id", "domain"),
    sa.Column("domain_path", sa.String(255), nullable=False),
    data("params"),  # without secrets
    text("instance_type"),
    text("instance_uuid"),
    number("instance_id", null=True, default=None),
    number("status", 0),  # 0 pending, 1 done, 2 failed
    number("result_code", 0),
    text("result", None, null=True),  # JSON, encrypted when it holds a secret
    flag("secret"),
    instant("deadline"),
    number("start_event", null=True, default=None),
    text("event_type"),
    instant("completed"),
    *life(),
    sa.Index("ix_job_instance", "instance_type", "instance_id"),
    comment="asynchronous API calls",
)

job_part = sa.Table(
    "job_part",
    metadata,
    key(),
    ref("job_id", "job"),
    text("kind", length=16),
    sa.Column("thing_id", Id, nullable=False),
    number("wish"),
    text("outcome"),  # running | stopped | gone | live | ready | done
    number("state", 0),  # 0 open, 1 satisfied, 2 failed
    text("error"),
    sa.Index("ix_job_part_thing", "kind", "thing_id", "state"),
    comment="a job is done when each (thing, wish, outcome) of it is",
)

task = sa.Table(
    "task",
    metadata,
    key(),
    uuid(),
    text("kind"),  # diagnose, ...
    sa.Column("machine_id", Id, nullable=True, index=True),
    text("body"),  # JSON of the wire struct
    text("state", "waiting"),  # waiting | running | done | failed
    sa.Column("progress", sa.Double, nullable=False, default=0.0),
    text("result", None, null=True),
    text("error"),
    instant("deadline"),
    *life(),
    comment="one-shot questions and errands with a result",
)

api_session = sa.Table(
    "api_session",
    metadata,
    key(),
    sa.Column("cookie_hash", sa.String(64), nullable=False, unique=True),
    sa.Column("sessionkey_hash", sa.String(64), nullable=False),
    ref("user_id", "user"),
    instant("last_used", null=False),
    instant("created", null=False),
    comment="logged-in browsers and cmk",
)
