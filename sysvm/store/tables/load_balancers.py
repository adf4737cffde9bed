"""Load balancers: what their rules in `firewall_rule` (purpose LoadBalancing) do not say. They end with their rules.

What a router's HAProxy sees of its members (`up`) is written as it is told, and is part of no decision.
"""

import sqlalchemy as sa

from sysvm.store.tables.base import address, data, flag, key, life, metadata, number, owner, ref, text, uuid

load_balancer = sa.Table(
    "load_balancer",
    metadata,
    key(),
    ref("rule_id", "firewall_rule", index=False),
    text("name"),
    text("description"),
    text("algorithm"),  # roundrobin | leastconn | source
    text("protocol"),  # tcp | tcp-proxy | ssl
    ref("certificate_id", "ssl_certificate", null=True),
    address("source_address", null=True),  # of the rule's network: an internal one; NULL: the rule has a public address
    sa.UniqueConstraint("rule_id"),
)

load_balancer_member = sa.Table(
    "load_balancer_member",
    metadata,
    key(),
    ref("rule_id", "firewall_rule"),
    ref("machine_id", "machine"),
    address("address"),  # of the guest, on the rule's network
    text("state", "Add"),  # Add | Active
    sa.Column("up", sa.Boolean, nullable=True),  # what the router sees; NULL: it has not said
    *life(),
)

lb_stickiness = sa.Table(
    "lb_stickiness",
    metadata,
    key(),
    uuid(),
    ref("rule_id", "firewall_rule"),
    text("name"),
    text("description"),
    text("method"),  # LbCookie | AppCookie | SourceBased
    data("params"),
    text("state", "Add"),  # Add | Active
    flag("for_display", True),
    *owner(),
    *life(),
)

lb_health_check = sa.Table(
    "lb_health_check",
    metadata,
    key(),
    uuid(),
    ref("rule_id", "firewall_rule"),
    text("description"),
    text("ping_path", "/"),
    number("response_s", 2),
    number("interval_s", 5),
    number("healthy", 2),
    number("unhealthy", 1),
    text("state", "Add"),  # Add | Active
    flag("for_display", True),
    *owner(),
    *life(),
)

ssl_certificate = sa.Table(
    "ssl_certificate",
    metadata,
    key(),
    uuid(),
    text("name"),
    text("certificate"),
    text("chain"),
    text("private_key"),  # sealed
    text("fingerprint"),
    *owner(),
    *life(),
)
