"""The first release: every table.

Frozen: a later change of the tables is a migration of its own. That all migrations together make what
`store/tables` declares is tested.

Revision: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """All tables, in the order of their references."""
    for make in TABLES:
        make()


def downgrade() -> None:
    """None, in the opposite order."""
    for make in reversed(TABLES):
        op.drop_table(make.__name__.removeprefix("_"))


def _alert() -> None:
    op.create_table(
        "alert",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("type", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("zone_id", sa.BigInteger(), nullable=True),
        sa.Column("pod_id", sa.BigInteger(), nullable=True),
        sa.Column("cluster_id", sa.BigInteger(), nullable=True),
        sa.Column("sent", sa.Double(), nullable=False),
        sa.Column("sent_count", sa.BigInteger(), nullable=False),
        sa.Column("resolved", sa.Double(), nullable=True),
        sa.Column("archived", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert")),
        sa.UniqueConstraint("uuid", name=op.f("uq_alert_uuid")),
    )


def _certificate() -> None:
    op.create_table(
        "certificate",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("pem", sa.Text(), nullable=False),
        sa.Column("private_key", sa.Text(), nullable=True),
        sa.Column("domain_suffix", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=True),
        sa.Column("created", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_certificate")),
        comment="the keystore of uploadCustomCertificate",
    )


def _cloud() -> None:
    op.create_table(
        "cloud",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("read_only", sa.Boolean(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("secrets_check", sa.Text(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cloud")),
        sa.UniqueConstraint("uuid", name=op.f("uq_cloud_uuid")),
        comment="one row: this cloud",
    )


def _disk_offering() -> None:
    op.create_table(
        "disk_offering",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("display_text", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("customized", sa.Boolean(), nullable=False),
        sa.Column("storage_type", sa.Text(), nullable=False),
        sa.Column("provisioning_type", sa.Text(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("domain_ids", sa.Text(), nullable=False),
        sa.Column("zone_ids", sa.Text(), nullable=False),
        sa.Column("details", sa.JSON(), nullable=True),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("removed", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_disk_offering")),
        sa.UniqueConstraint("uuid", name=op.f("uq_disk_offering_uuid")),
    )


def _domain() -> None:
    op.create_table(
        "domain",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("id_path", sa.String(length=255), nullable=False),
        sa.Column("parent_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("level", sa.BigInteger(), nullable=False),
        sa.Column("network_domain", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("removed", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["parent_id"], ["domain.id"], name=op.f("fk_domain_parent_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_domain")),
        sa.UniqueConstraint("uuid", name=op.f("uq_domain_uuid")),
    )
    op.create_index(op.f("ix_domain_id_path"), "domain", ["id_path"], unique=False)
    op.create_index(op.f("ix_domain_parent_id"), "domain", ["parent_id"], unique=False)


def _guest_os() -> None:
    op.create_table(
        "guest_os",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("category", sa.Text(), nullable=False),
        sa.Column("category_uuid", sa.Text(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("removed", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_guest_os")),
        sa.UniqueConstraint("uuid", name=op.f("uq_guest_os_uuid")),
    )


def _resource_limit() -> None:
    op.create_table(
        "resource_limit",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("resource_type", sa.BigInteger(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=True),
        sa.Column("domain_id", sa.BigInteger(), nullable=True),
        sa.Column("max", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_resource_limit")),
    )


def _role() -> None:
    op.create_table(
        "role",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("is_default", sa.Boolean(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("removed", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_role")),
        sa.UniqueConstraint("uuid", name=op.f("uq_role_uuid")),
    )


def _service_offering() -> None:
    op.create_table(
        "service_offering",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("unique_name", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("display_text", sa.Text(), nullable=False),
        sa.Column("cpus", sa.BigInteger(), nullable=True),
        sa.Column("cpu_mhz", sa.BigInteger(), nullable=True),
        sa.Column("memory_mb", sa.BigInteger(), nullable=True),
        sa.Column("is_system", sa.Boolean(), nullable=False),
        sa.Column("system_vm_type", sa.Text(), nullable=False),
        sa.Column("default_use", sa.Boolean(), nullable=False),
        sa.Column("offer_ha", sa.Boolean(), nullable=False),
        sa.Column("limit_cpu_use", sa.Boolean(), nullable=False),
        sa.Column("is_volatile", sa.Boolean(), nullable=False),
        sa.Column("customized", sa.Boolean(), nullable=False),
        sa.Column("dynamic_scaling", sa.Boolean(), nullable=False),
        sa.Column("storage_type", sa.Text(), nullable=False),
        sa.Column("provisioning_type", sa.Text(), nullable=False),
        sa.Column("root_disk_bytes", sa.BigInteger(), nullable=False),
        sa.Column("network_rate", sa.BigInteger(), nullable=True),
        sa.Column("host_tags", sa.Text(), nullable=False),
        sa.Column("storage_tags", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("domain_ids", sa.Text(), nullable=False),
        sa.Column("zone_ids", sa.Text(), nullable=False),
        sa.Column("details", sa.JSON(), nullable=True),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("removed", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_service_offering")),
        sa.UniqueConstraint("uuid", name=op.f("uq_service_offering_uuid")),
    )


def _session() -> None:
    op.create_table(
        "session",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("until", sa.Double(), nullable=False),
        sa.Column("server_uuid", sa.Text(), nullable=False),
        sa.Column("server_name", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("started", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_session")),
        comment="living server processes; heart-beat 1 s, ttl 5 s",
    )


def _setting() -> None:
    op.create_table(
        "setting",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("scope", sa.String(length=16), nullable=False),
        sa.Column("scope_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("value", sa.Text(), nullable=True),
        sa.Column("updated", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_setting")),
        sa.UniqueConstraint("scope", "scope_id", "name", name=op.f("uq_setting_scope_scope_id_name")),
    )


def _task() -> None:
    op.create_table(
        "task",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("machine_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("progress", sa.Double(), nullable=False),
        sa.Column("result", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("deadline", sa.Double(), nullable=True),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("removed", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_task")),
        sa.UniqueConstraint("uuid", name=op.f("uq_task_uuid")),
        comment="one-shot questions and errands with a result",
    )
    op.create_index(op.f("ix_task_machine_id"), "task", ["machine_id"], unique=False)


def _turn() -> None:
    op.create_table(
        "turn",
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("due", sa.Double(), nullable=False),
        sa.Column("session", sa.String(length=36), nullable=True),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("tries", sa.BigInteger(), nullable=False),
        sa.Column("wish", sa.BigInteger(), nullable=False),
        sa.Column("stir", sa.BigInteger(), nullable=False),
        sa.Column("host", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.PrimaryKeyConstraint("kind", "id", name=op.f("pk_turn")),
        comment="what is to be worked on, and by whom",
    )
    op.create_index("ix_turn_due", "turn", ["due"], unique=False)
    op.create_index("ix_turn_session", "turn", ["session"], unique=False)


def _zone() -> None:
    op.create_table(
        "zone",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("network_type", sa.Text(), nullable=False),
        sa.Column("security_groups", sa.Boolean(), nullable=False),
        sa.Column("local_storage", sa.Boolean(), nullable=False),
        sa.Column("dns1", sa.Text(), nullable=False),
        sa.Column("dns2", sa.Text(), nullable=False),
        sa.Column("ip6dns1", sa.Text(), nullable=False),
        sa.Column("ip6dns2", sa.Text(), nullable=False),
        sa.Column("internal_dns1", sa.Text(), nullable=False),
        sa.Column("internal_dns2", sa.Text(), nullable=False),
        sa.Column("guest_cidr", sa.Text(), nullable=False),
        sa.Column("network_domain", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("allocation_state", sa.Text(), nullable=False),
        sa.Column("dhcp_provider", sa.Text(), nullable=False),
        sa.Column("domain_id", sa.BigInteger(), nullable=True),
        sa.Column("zone_token", sa.Text(), nullable=False),
        sa.Column("details", sa.JSON(), nullable=True),
        sa.Column("sort_key", sa.BigInteger(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("removed", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_zone")),
        sa.UniqueConstraint("uuid", name=op.f("uq_zone_uuid")),
    )


def _account() -> None:
    op.create_table(
        "account",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("type", sa.BigInteger(), nullable=False),
        sa.Column("role_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("domain_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("domain_path", sa.String(length=255), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("network_domain", sa.Text(), nullable=False),
        sa.Column("default_zone_id", sa.BigInteger(), nullable=True),
        sa.Column("details", sa.JSON(), nullable=True),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("removed", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["domain_id"], ["domain.id"], name=op.f("fk_account_domain_id")),
        sa.ForeignKeyConstraint(["role_id"], ["role.id"], name=op.f("fk_account_role_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account")),
        sa.UniqueConstraint("uuid", name=op.f("uq_account_uuid")),
    )
    op.create_index(op.f("ix_account_domain_id"), "account", ["domain_id"], unique=False)
    op.create_index(op.f("ix_account_domain_path"), "account", ["domain_path"], unique=False)
    op.create_index(op.f("ix_account_role_id"), "account", ["role_id"], unique=False)


def _image_store() -> None:
    op.create_table(
        "image_store",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("zone_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("protocol", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("read_only", sa.Boolean(), nullable=False),
        sa.Column("capacity_bytes", sa.BigInteger(), nullable=False),
        sa.Column("used_bytes", sa.BigInteger(), nullable=False),
        sa.Column("details", sa.JSON(), nullable=True),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("removed", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["zone_id"], ["zone.id"], name=op.f("fk_image_store_zone_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_image_store")),
        sa.UniqueConstraint("uuid", name=op.f("uq_image_store_uuid")),
    )
    op.create_index(op.f("ix_image_store_zone_id"), "image_store", ["zone_id"], unique=False)


def _network_offering() -> None:
    op.create_table(
        "network_offering",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("unique_name", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("display_text", sa.Text(), nullable=False),
        sa.Column("guest_type", sa.Text(), nullable=False),
        sa.Column("traffic_type", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("availability", sa.Text(), nullable=False),
        sa.Column("conserve_mode", sa.Text(), nullable=False),
        sa.Column("is_default", sa.Boolean(), nullable=False),
        sa.Column("specify_vlan", sa.Boolean(), nullable=False),
        sa.Column("specify_ip_ranges", sa.Boolean(), nullable=False),
        sa.Column("is_persistent", sa.Boolean(), nullable=False),
        sa.Column("for_vpc", sa.Boolean(), nullable=False),
        sa.Column("egress_default_allow", sa.Boolean(), nullable=False),
        sa.Column("system_only", sa.Boolean(), nullable=False),
        sa.Column("service_offering_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("network_rate", sa.BigInteger(), nullable=True),
        sa.Column("max_connections", sa.BigInteger(), nullable=True),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("domain_ids", sa.Text(), nullable=False),
        sa.Column("zone_ids", sa.Text(), nullable=False),
        sa.Column("services", sa.JSON(), nullable=True),
        sa.Column("details", sa.JSON(), nullable=True),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("removed", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["service_offering_id"], ["service_offering.id"], name=op.f("fk_network_offering_service_offering_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_network_offering")),
        sa.UniqueConstraint("uuid", name=op.f("uq_network_offering_uuid")),
    )
    op.create_index(op.f("ix_network_offering_service_offering_id"), "network_offering", ["service_offering_id"], unique=False)


def _physical_network() -> None:
    op.create_table(
        "physical_network",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("zone_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("isolation_methods", sa.Text(), nullable=False),
        sa.Column("vlan", sa.Text(), nullable=False),
        sa.Column("network_speed", sa.Text(), nullable=False),
        sa.Column("broadcast_domain_range", sa.Text(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("domain_id", sa.BigInteger(), nullable=True),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("removed", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["zone_id"], ["zone.id"], name=op.f("fk_physical_network_zone_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_physical_network")),
        sa.UniqueConstraint("uuid", name=op.f("uq_physical_network_uuid")),
    )
    op.create_index(op.f("ix_physical_network_zone_id"), "physical_network", ["zone_id"], unique=False)


def _pod() -> None:
    op.create_table(
        "pod",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("zone_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("gateway", sa.Text(), nullable=False),
        sa.Column("netmask", sa.Text(), nullable=False),
        sa.Column("allocation_state", sa.Text(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("removed", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["zone_id"], ["zone.id"], name=op.f("fk_pod_zone_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pod")),
        sa.UniqueConstraint("uuid", name=op.f("uq_pod_uuid")),
    )
    op.create_index(op.f("ix_pod_zone_id"), "pod", ["zone_id"], unique=False)


def _role_permission() -> None:
    op.create_table(
        "role_permission",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("role_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("permission", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("sort_order", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["role_id"], ["role.id"], name=op.f("fk_role_permission_role_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_role_permission")),
        sa.UniqueConstraint("uuid", name=op.f("uq_role_permission_uuid")),
    )
    op.create_index(op.f("ix_role_permission_role_id"), "role_permission", ["role_id"], unique=False)


def _vpc_offering() -> None:
    op.create_table(
        "vpc_offering",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("unique_name", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("display_text", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("is_default", sa.Boolean(), nullable=False),
        sa.Column("redundant", sa.Boolean(), nullable=False),
        sa.Column("distributed", sa.Boolean(), nullable=False),
        sa.Column("service_offering_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("domain_ids", sa.Text(), nullable=False),
        sa.Column("zone_ids", sa.Text(), nullable=False),
        sa.Column("services", sa.JSON(), nullable=True),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("removed", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["service_offering_id"], ["service_offering.id"], name=op.f("fk_vpc_offering_service_offering_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_vpc_offering")),
        sa.UniqueConstraint("uuid", name=op.f("uq_vpc_offering_uuid")),
    )
    op.create_index(op.f("ix_vpc_offering_service_offering_id"), "vpc_offering", ["service_offering_id"], unique=False)


def _cluster() -> None:
    op.create_table(
        "cluster",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("zone_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("pod_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("hypervisor", sa.Text(), nullable=False),
        sa.Column("cluster_type", sa.Text(), nullable=False),
        sa.Column("allocation_state", sa.Text(), nullable=False),
        sa.Column("managed_state", sa.Text(), nullable=False),
        sa.Column("details", sa.JSON(), nullable=True),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("removed", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["pod_id"], ["pod.id"], name=op.f("fk_cluster_pod_id")),
        sa.ForeignKeyConstraint(["zone_id"], ["zone.id"], name=op.f("fk_cluster_zone_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cluster")),
        sa.UniqueConstraint("uuid", name=op.f("uq_cluster_uuid")),
    )
    op.create_index(op.f("ix_cluster_pod_id"), "cluster", ["pod_id"], unique=False)
    op.create_index(op.f("ix_cluster_zone_id"), "cluster", ["zone_id"], unique=False)


def _event() -> None:
    op.create_table(
        "event",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("type", sa.String(length=64), nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=True),
        sa.Column("account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("domain_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("domain_path", sa.String(length=255), nullable=False),
        sa.Column("parent_id", sa.BigInteger(), nullable=True),
        sa.Column("resource_type", sa.Text(), nullable=False),
        sa.Column("resource_id", sa.BigInteger(), nullable=True),
        sa.Column("resource_uuid", sa.Text(), nullable=False),
        sa.Column("resource_name", sa.Text(), nullable=False),
        sa.Column("archived", sa.Boolean(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_event_account_id")),
        sa.ForeignKeyConstraint(["domain_id"], ["domain.id"], name=op.f("fk_event_domain_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event")),
        sa.UniqueConstraint("uuid", name=op.f("uq_event_uuid")),
    )
    op.create_index(op.f("ix_event_account_id"), "event", ["account_id"], unique=False)
    op.create_index("ix_event_created", "event", ["created"], unique=False)
    op.create_index(op.f("ix_event_domain_id"), "event", ["domain_id"], unique=False)
    op.create_index(op.f("ix_event_domain_path"), "event", ["domain_path"], unique=False)


def _network() -> None:
    op.create_table(
        "network",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("display_text", sa.Text(), nullable=False),
        sa.Column("zone_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("physical_network_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("offering_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("vpc_id", sa.BigInteger(), nullable=True),
        sa.Column("guest_type", sa.Text(), nullable=False),
        sa.Column("traffic_type", sa.Text(), nullable=False),
        sa.Column("acl_type", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("cidr", sa.Text(), nullable=False),
        sa.Column("gateway", sa.Text(), nullable=False),
        sa.Column("ip6_cidr", sa.Text(), nullable=False),
        sa.Column("ip6_gateway", sa.Text(), nullable=False),
        sa.Column("reserved_range", sa.Text(), nullable=False),
        sa.Column("first", sa.LargeBinary(length=16), nullable=True),
        sa.Column("last", sa.LargeBinary(length=16), nullable=True),
        sa.Column("domain_name", sa.Text(), nullable=False),
        sa.Column("dns1", sa.Text(), nullable=False),
        sa.Column("dns2", sa.Text(), nullable=False),
        sa.Column("isolation", sa.Text(), nullable=False),
        sa.Column("tag", sa.BigInteger(), nullable=True),
        sa.Column("mtu", sa.BigInteger(), nullable=False),
        sa.Column("restart_required", sa.Boolean(), nullable=False),
        sa.Column("redundant", sa.Boolean(), nullable=False),
        sa.Column("egress_default_allow", sa.Boolean(), nullable=False),
        sa.Column("unused_since", sa.Double(), nullable=True),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("domain_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("domain_path", sa.String(length=255), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("removed", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_network_account_id")),
        sa.ForeignKeyConstraint(["domain_id"], ["domain.id"], name=op.f("fk_network_domain_id")),
        sa.ForeignKeyConstraint(["offering_id"], ["network_offering.id"], name=op.f("fk_network_offering_id")),
        sa.ForeignKeyConstraint(["physical_network_id"], ["physical_network.id"], name=op.f("fk_network_physical_network_id")),
        sa.ForeignKeyConstraint(["zone_id"], ["zone.id"], name=op.f("fk_network_zone_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_network")),
        sa.UniqueConstraint("uuid", name=op.f("uq_network_uuid")),
    )
    op.create_index(op.f("ix_network_account_id"), "network", ["account_id"], unique=False)
    op.create_index(op.f("ix_network_domain_id"), "network", ["domain_id"], unique=False)
    op.create_index(op.f("ix_network_domain_path"), "network", ["domain_path"], unique=False)
    op.create_index(op.f("ix_network_offering_id"), "network", ["offering_id"], unique=False)
    op.create_index(op.f("ix_network_physical_network_id"), "network", ["physical_network_id"], unique=False)
    op.create_index(op.f("ix_network_zone_id"), "network", ["zone_id"], unique=False)
    op.create_index(
        "uq_network_tag",
        "network",
        ["isolation", "tag"],
        unique=True,
        sqlite_where=sa.text("tag IS NOT NULL AND removed IS NULL"),
        postgresql_where=sa.text("tag IS NOT NULL AND removed IS NULL"),
    )


def _project() -> None:
    op.create_table(
        "project",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("display_text", sa.Text(), nullable=False),
        sa.Column("project_account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("domain_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("domain_path", sa.String(length=255), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("removed", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_project_account_id")),
        sa.ForeignKeyConstraint(["domain_id"], ["domain.id"], name=op.f("fk_project_domain_id")),
        sa.ForeignKeyConstraint(["project_account_id"], ["account.id"], name=op.f("fk_project_project_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_project")),
        sa.UniqueConstraint("uuid", name=op.f("uq_project_uuid")),
    )
    op.create_index(op.f("ix_project_account_id"), "project", ["account_id"], unique=False)
    op.create_index(op.f("ix_project_domain_id"), "project", ["domain_id"], unique=False)
    op.create_index(op.f("ix_project_domain_path"), "project", ["domain_path"], unique=False)
    op.create_index(op.f("ix_project_project_account_id"), "project", ["project_account_id"], unique=False)


def _service_provider() -> None:
    op.create_table(
        "service_provider",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("physical_network_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("services", sa.JSON(), nullable=True),
        sa.Column("element_enabled", sa.Boolean(), nullable=False),
        sa.Column("element_uuid", sa.Text(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("removed", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["physical_network_id"], ["physical_network.id"], name=op.f("fk_service_provider_physical_network_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_service_provider")),
        sa.UniqueConstraint("uuid", name=op.f("uq_service_provider_uuid")),
    )
    op.create_index(op.f("ix_service_provider_physical_network_id"), "service_provider", ["physical_network_id"], unique=False)


def _ssh_key_pair() -> None:
    op.create_table(
        "ssh_key_pair",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("public_key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("domain_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("domain_path", sa.String(length=255), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("removed", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_ssh_key_pair_account_id")),
        sa.ForeignKeyConstraint(["domain_id"], ["domain.id"], name=op.f("fk_ssh_key_pair_domain_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ssh_key_pair")),
        sa.UniqueConstraint("uuid", name=op.f("uq_ssh_key_pair_uuid")),
    )
    op.create_index(op.f("ix_ssh_key_pair_account_id"), "ssh_key_pair", ["account_id"], unique=False)
    op.create_index(op.f("ix_ssh_key_pair_domain_id"), "ssh_key_pair", ["domain_id"], unique=False)
    op.create_index(op.f("ix_ssh_key_pair_domain_path"), "ssh_key_pair", ["domain_path"], unique=False)


def _tag() -> None:
    op.create_table(
        "tag",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("resource_type", sa.String(length=64), nullable=False),
        sa.Column("resource_id", sa.BigInteger(), nullable=False),
        sa.Column("resource_uuid", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("customer", sa.Text(), nullable=False),
        sa.Column("account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("domain_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("domain_path", sa.String(length=255), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_tag_account_id")),
        sa.ForeignKeyConstraint(["domain_id"], ["domain.id"], name=op.f("fk_tag_domain_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tag")),
        sa.UniqueConstraint("uuid", name=op.f("uq_tag_uuid")),
    )
    op.create_index(op.f("ix_tag_account_id"), "tag", ["account_id"], unique=False)
    op.create_index(op.f("ix_tag_domain_id"), "tag", ["domain_id"], unique=False)
    op.create_index(op.f("ix_tag_domain_path"), "tag", ["domain_path"], unique=False)
    op.create_index("ix_tag_resource", "tag", ["resource_type", "resource_id"], unique=False)


def _template() -> None:
    op.create_table(
        "template",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("unique_name", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("display_text", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("hypervisor", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("checksum", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("virtual_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("guest_os_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("bits", sa.BigInteger(), nullable=False),
        sa.Column("is_iso", sa.Boolean(), nullable=False),
        sa.Column("is_public", sa.Boolean(), nullable=False),
        sa.Column("is_featured", sa.Boolean(), nullable=False),
        sa.Column("is_extractable", sa.Boolean(), nullable=False),
        sa.Column("is_bootable", sa.Boolean(), nullable=False),
        sa.Column("is_dynamically_scalable", sa.Boolean(), nullable=False),
        sa.Column("cross_zones", sa.Boolean(), nullable=False),
        sa.Column("password_enabled", sa.Boolean(), nullable=False),
        sa.Column("ssh_key_enabled", sa.Boolean(), nullable=False),
        sa.Column("requires_hvm", sa.Boolean(), nullable=False),
        sa.Column("deploy_as_is", sa.Boolean(), nullable=False),
        sa.Column("direct_download", sa.Boolean(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("tag", sa.Text(), nullable=False),
        sa.Column("details", sa.JSON(), nullable=True),
        sa.Column("permissions", sa.JSON(), nullable=True),
        sa.Column("sort_key", sa.BigInteger(), nullable=False),
        sa.Column("account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("domain_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("domain_path", sa.String(length=255), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("removed", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_template_account_id")),
        sa.ForeignKeyConstraint(["domain_id"], ["domain.id"], name=op.f("fk_template_domain_id")),
        sa.ForeignKeyConstraint(["guest_os_id"], ["guest_os.id"], name=op.f("fk_template_guest_os_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_template")),
        sa.UniqueConstraint("uuid", name=op.f("uq_template_uuid")),
    )
    op.create_index(op.f("ix_template_account_id"), "template", ["account_id"], unique=False)
    op.create_index(op.f("ix_template_domain_id"), "template", ["domain_id"], unique=False)
    op.create_index(op.f("ix_template_domain_path"), "template", ["domain_path"], unique=False)
    op.create_index(op.f("ix_template_guest_os_id"), "template", ["guest_os_id"], unique=False)


def _traffic_type() -> None:
    op.create_table(
        "traffic_type",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("physical_network_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("traffic_type", sa.Text(), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=True),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("removed", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["physical_network_id"], ["physical_network.id"], name=op.f("fk_traffic_type_physical_network_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_traffic_type")),
        sa.UniqueConstraint("uuid", name=op.f("uq_traffic_type_uuid")),
    )
    op.create_index(op.f("ix_traffic_type_physical_network_id"), "traffic_type", ["physical_network_id"], unique=False)


def _usage_interval() -> None:
    op.create_table(
        "usage_interval",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("usage_type", sa.BigInteger(), nullable=False),
        sa.Column("zone_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("domain_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("domain_path", sa.String(length=255), nullable=False),
        sa.Column("resource_uuid", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("details", sa.JSON(), nullable=True),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("began", sa.Double(), nullable=False),
        sa.Column("ended", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_usage_interval_account_id")),
        sa.ForeignKeyConstraint(["domain_id"], ["domain.id"], name=op.f("fk_usage_interval_domain_id")),
        sa.ForeignKeyConstraint(["zone_id"], ["zone.id"], name=op.f("fk_usage_interval_zone_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_usage_interval")),
    )
    op.create_index(op.f("ix_usage_interval_account_id"), "usage_interval", ["account_id"], unique=False)
    op.create_index(op.f("ix_usage_interval_domain_id"), "usage_interval", ["domain_id"], unique=False)
    op.create_index(op.f("ix_usage_interval_domain_path"), "usage_interval", ["domain_path"], unique=False)
    op.create_index(op.f("ix_usage_interval_zone_id"), "usage_interval", ["zone_id"], unique=False)


def _user() -> None:
    op.create_table(
        "user",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("username", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("firstname", sa.Text(), nullable=False),
        sa.Column("lastname", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("timezone", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("api_key", sa.String(length=128), nullable=True),
        sa.Column("secret_key", sa.Text(), nullable=True),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("removed", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_user_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user")),
        sa.UniqueConstraint("api_key", name=op.f("uq_user_api_key")),
        sa.UniqueConstraint("uuid", name=op.f("uq_user_uuid")),
    )
    op.create_index(op.f("ix_user_account_id"), "user", ["account_id"], unique=False)


def _user_data() -> None:
    op.create_table(
        "user_data",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("userdata", sa.Text(), nullable=False),
        sa.Column("params", sa.Text(), nullable=False),
        sa.Column("account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("domain_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("domain_path", sa.String(length=255), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("removed", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_user_data_account_id")),
        sa.ForeignKeyConstraint(["domain_id"], ["domain.id"], name=op.f("fk_user_data_domain_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user_data")),
        sa.UniqueConstraint("uuid", name=op.f("uq_user_data_uuid")),
    )
    op.create_index(op.f("ix_user_data_account_id"), "user_data", ["account_id"], unique=False)
    op.create_index(op.f("ix_user_data_domain_id"), "user_data", ["domain_id"], unique=False)
    op.create_index(op.f("ix_user_data_domain_path"), "user_data", ["domain_path"], unique=False)


def _annotation() -> None:
    op.create_table(
        "annotation",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("entity_type", sa.Text(), nullable=False),
        sa.Column("entity_uuid", sa.Text(), nullable=False),
        sa.Column("user_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("admins_only", sa.Boolean(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("removed", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name=op.f("fk_annotation_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_annotation")),
        sa.UniqueConstraint("uuid", name=op.f("uq_annotation_uuid")),
    )
    op.create_index(op.f("ix_annotation_user_id"), "annotation", ["user_id"], unique=False)


def _api_session() -> None:
    op.create_table(
        "api_session",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("cookie_hash", sa.String(length=64), nullable=False),
        sa.Column("sessionkey_hash", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("last_used", sa.Double(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name=op.f("fk_api_session_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_session")),
        sa.UniqueConstraint("cookie_hash", name=op.f("uq_api_session_cookie_hash")),
        comment="logged-in browsers and cmk",
    )
    op.create_index(op.f("ix_api_session_user_id"), "api_session", ["user_id"], unique=False)


def _host() -> None:
    op.create_table(
        "host",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("zone_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("pod_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("cluster_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("hypervisor", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("resource_state", sa.Text(), nullable=False),
        sa.Column("link_session", sa.String(length=36), nullable=True),
        sa.Column("link_epoch", sa.BigInteger(), nullable=False),
        sa.Column("boot_id", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=True),
        sa.Column("cpus", sa.BigInteger(), nullable=False),
        sa.Column("cpu_mhz", sa.BigInteger(), nullable=False),
        sa.Column("memory_bytes", sa.BigInteger(), nullable=False),
        sa.Column("machines", sa.BigInteger(), nullable=False),
        sa.Column("memory_free_mb", sa.BigInteger(), nullable=False),
        sa.Column("management_address", sa.Text(), nullable=False),
        sa.Column("document_live", sa.Text(), nullable=False),
        sa.Column("renew_after", sa.Double(), nullable=True),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("connected", sa.Double(), nullable=True),
        sa.Column("disconnected", sa.Double(), nullable=True),
        sa.Column("last_seen", sa.Double(), nullable=True),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("removed", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["cluster_id"], ["cluster.id"], name=op.f("fk_host_cluster_id")),
        sa.ForeignKeyConstraint(["pod_id"], ["pod.id"], name=op.f("fk_host_pod_id")),
        sa.ForeignKeyConstraint(["zone_id"], ["zone.id"], name=op.f("fk_host_zone_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_host")),
        sa.UniqueConstraint("uuid", name=op.f("uq_host_uuid")),
    )
    op.create_index(op.f("ix_host_cluster_id"), "host", ["cluster_id"], unique=False)
    op.create_index(op.f("ix_host_link_session"), "host", ["link_session"], unique=False)
    op.create_index(op.f("ix_host_pod_id"), "host", ["pod_id"], unique=False)
    op.create_index(op.f("ix_host_zone_id"), "host", ["zone_id"], unique=False)
    op.create_index("ix_host_room", "host", ["zone_id", "machines", sa.text("memory_free_mb desc"), "id"])


def _ip_range() -> None:
    op.create_table(
        "ip_range",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("zone_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("pod_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("physical_network_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("network_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("traffic", sa.Text(), nullable=False),
        sa.Column("vlan", sa.Text(), nullable=False),
        sa.Column("gateway", sa.Text(), nullable=False),
        sa.Column("netmask", sa.Text(), nullable=False),
        sa.Column("ip6_gateway", sa.Text(), nullable=False),
        sa.Column("ip6_cidr", sa.Text(), nullable=False),
        sa.Column("first", sa.LargeBinary(length=16), nullable=False),
        sa.Column("last", sa.LargeBinary(length=16), nullable=False),
        sa.Column("for_system_vms", sa.Boolean(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=True),
        sa.Column("domain_id", sa.BigInteger(), nullable=True),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("removed", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["network_id"], ["network.id"], name=op.f("fk_ip_range_network_id")),
        sa.ForeignKeyConstraint(["physical_network_id"], ["physical_network.id"], name=op.f("fk_ip_range_physical_network_id")),
        sa.ForeignKeyConstraint(["pod_id"], ["pod.id"], name=op.f("fk_ip_range_pod_id")),
        sa.ForeignKeyConstraint(["zone_id"], ["zone.id"], name=op.f("fk_ip_range_zone_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ip_range")),
        sa.UniqueConstraint("uuid", name=op.f("uq_ip_range_uuid")),
        comment="createVlanIpRange, createPod, createStorageNetworkIpRange: all ranges of addresses",
    )
    op.create_index(op.f("ix_ip_range_network_id"), "ip_range", ["network_id"], unique=False)
    op.create_index(op.f("ix_ip_range_physical_network_id"), "ip_range", ["physical_network_id"], unique=False)
    op.create_index(op.f("ix_ip_range_pod_id"), "ip_range", ["pod_id"], unique=False)
    op.create_index(op.f("ix_ip_range_zone_id"), "ip_range", ["zone_id"], unique=False)


def _job() -> None:
    op.create_table(
        "job",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("command", sa.Text(), nullable=False),
        sa.Column("user_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("domain_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("domain_path", sa.String(length=255), nullable=False),
        sa.Column("params", sa.JSON(), nullable=True),
        sa.Column("instance_type", sa.Text(), nullable=False),
        sa.Column("instance_uuid", sa.Text(), nullable=False),
        sa.Column("instance_id", sa.BigInteger(), nullable=True),
        sa.Column("status", sa.BigInteger(), nullable=False),
        sa.Column("result_code", sa.BigInteger(), nullable=False),
        sa.Column("result", sa.Text(), nullable=True),
        sa.Column("secret", sa.Boolean(), nullable=False),
        sa.Column("deadline", sa.Double(), nullable=True),
        sa.Column("start_event", sa.BigInteger(), nullable=True),
        sa.Column("event_type", sa.Text(), nullable=False),
        sa.Column("completed", sa.Double(), nullable=True),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("removed", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_job_account_id")),
        sa.ForeignKeyConstraint(["domain_id"], ["domain.id"], name=op.f("fk_job_domain_id")),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name=op.f("fk_job_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job")),
        sa.UniqueConstraint("uuid", name=op.f("uq_job_uuid")),
        comment="asynchronous API calls",
    )
    op.create_index(op.f("ix_job_account_id"), "job", ["account_id"], unique=False)
    op.create_index(op.f("ix_job_domain_id"), "job", ["domain_id"], unique=False)
    op.create_index("ix_job_instance", "job", ["instance_type", "instance_id"], unique=False)
    op.create_index(op.f("ix_job_user_id"), "job", ["user_id"], unique=False)


def _adoption() -> None:
    op.create_table(
        "adoption",
        sa.Column("host_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["host_id"], ["host.id"], name=op.f("fk_adoption_host_id")),
        sa.PrimaryKeyConstraint("host_id", name=op.f("pk_adoption")),
        comment="the epoch in which what runs on a host was last taken into the records",
    )


def _control_ip() -> None:
    op.create_table(
        "control_ip",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("host_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("address", sa.LargeBinary(length=16), nullable=False),
        sa.Column("machine_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["host_id"], ["host.id"], name=op.f("fk_control_ip_host_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_control_ip")),
        sa.UniqueConstraint("host_id", "address", name=op.f("uq_control_ip_host_id_address")),
        comment="link-local addresses taken on a host",
    )
    op.create_index(op.f("ix_control_ip_host_id"), "control_ip", ["host_id"], unique=False)


def _host_certificate() -> None:
    op.create_table(
        "host_certificate",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("host_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("serial", sa.String(length=64), nullable=False),
        sa.Column("key_fingerprint", sa.String(length=64), nullable=False),
        sa.Column("not_after", sa.Double(), nullable=False),
        sa.Column("revoked", sa.Double(), nullable=True),
        sa.Column("created", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["host_id"], ["host.id"], name=op.f("fk_host_certificate_host_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_host_certificate")),
        sa.UniqueConstraint("serial", name=op.f("uq_host_certificate_serial")),
    )
    op.create_index(op.f("ix_host_certificate_host_id"), "host_certificate", ["host_id"], unique=False)
    op.create_index(op.f("ix_host_certificate_key_fingerprint"), "host_certificate", ["key_fingerprint"], unique=False)


def _host_token() -> None:
    op.create_table(
        "host_token",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("host_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("until", sa.Double(), nullable=False),
        sa.Column("redeemed", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["host_id"], ["host.id"], name=op.f("fk_host_token_host_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_host_token")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_host_token_token_hash")),
        comment="one-time tokens for first contact; a second redemption revokes the host and alerts",
    )
    op.create_index(op.f("ix_host_token_host_id"), "host_token", ["host_id"], unique=False)


def _job_part() -> None:
    op.create_table(
        "job_part",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("job_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("thing_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("wish", sa.BigInteger(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("state", sa.BigInteger(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_job_part_job_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job_part")),
        comment="a job is done when each (thing, wish, outcome) of it is",
    )
    op.create_index(op.f("ix_job_part_job_id"), "job_part", ["job_id"], unique=False)
    op.create_index("ix_job_part_thing", "job_part", ["kind", "thing_id", "state"], unique=False)


def _machine() -> None:
    op.create_table(
        "machine",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("hostname", sa.Text(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("hypervisor", sa.Text(), nullable=False),
        sa.Column("runtime", sa.Text(), nullable=False),
        sa.Column("runtime_why", sa.Text(), nullable=False),
        sa.Column("zone_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("host_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("last_host_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("wanted_host_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("service_offering_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("template_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("template_version", sa.Text(), nullable=False),
        sa.Column("wanted", sa.String(length=16), nullable=False),
        sa.Column("wish", sa.BigInteger(), nullable=False),
        sa.Column("incarnation", sa.BigInteger(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("forced", sa.Boolean(), nullable=False),
        sa.Column("reboots", sa.BigInteger(), nullable=False),
        sa.Column("power", sa.Text(), nullable=False),
        sa.Column("agent_up", sa.Boolean(), nullable=False),
        sa.Column("document_wanted", sa.Text(), nullable=False),
        sa.Column("document_live", sa.Text(), nullable=False),
        sa.Column("faults", sa.JSON(), nullable=True),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("deadline", sa.Double(), nullable=True),
        sa.Column("network_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("vpc_id", sa.BigInteger(), nullable=True),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("redundant", sa.Boolean(), nullable=False),
        sa.Column("redundant_state", sa.Text(), nullable=False),
        sa.Column("draining", sa.Boolean(), nullable=False),
        sa.Column("sessions", sa.BigInteger(), nullable=False),
        sa.Column("reported", sa.Double(), nullable=True),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("state_key", sa.Text(), nullable=True),
        sa.Column("userdata", sa.Text(), nullable=False),
        sa.Column("user_data_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("password", sa.Text(), nullable=True),
        sa.Column("key_pairs", sa.JSON(), nullable=True),
        sa.Column("console_proxy_id", sa.BigInteger(), nullable=True),
        sa.Column("console_assigned", sa.Double(), nullable=True),
        sa.Column("ha_enabled", sa.Boolean(), nullable=False),
        sa.Column("display_vm", sa.Boolean(), nullable=False),
        sa.Column("delete_protection", sa.Boolean(), nullable=False),
        sa.Column("iso_id", sa.BigInteger(), nullable=True),
        sa.Column("group_name", sa.Text(), nullable=False),
        sa.Column("cpus", sa.BigInteger(), nullable=True),
        sa.Column("cpu_mhz", sa.BigInteger(), nullable=True),
        sa.Column("memory_mb", sa.BigInteger(), nullable=True),
        sa.Column("destroyed", sa.Double(), nullable=True),
        sa.Column("details", sa.JSON(), nullable=True),
        sa.Column("account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("domain_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("domain_path", sa.String(length=255), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("removed", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_machine_account_id")),
        sa.ForeignKeyConstraint(["domain_id"], ["domain.id"], name=op.f("fk_machine_domain_id")),
        sa.ForeignKeyConstraint(["host_id"], ["host.id"], name=op.f("fk_machine_host_id")),
        sa.ForeignKeyConstraint(["last_host_id"], ["host.id"], name=op.f("fk_machine_last_host_id")),
        sa.ForeignKeyConstraint(["network_id"], ["network.id"], name=op.f("fk_machine_network_id")),
        sa.ForeignKeyConstraint(["service_offering_id"], ["service_offering.id"], name=op.f("fk_machine_service_offering_id")),
        sa.ForeignKeyConstraint(["template_id"], ["template.id"], name=op.f("fk_machine_template_id")),
        sa.ForeignKeyConstraint(["user_data_id"], ["user_data.id"], name=op.f("fk_machine_user_data_id")),
        sa.ForeignKeyConstraint(["wanted_host_id"], ["host.id"], name=op.f("fk_machine_wanted_host_id")),
        sa.ForeignKeyConstraint(["zone_id"], ["zone.id"], name=op.f("fk_machine_zone_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_machine")),
        sa.UniqueConstraint("uuid", name=op.f("uq_machine_uuid")),
    )
    op.create_index(op.f("ix_machine_account_id"), "machine", ["account_id"], unique=False)
    op.create_index(op.f("ix_machine_domain_id"), "machine", ["domain_id"], unique=False)
    op.create_index(op.f("ix_machine_domain_path"), "machine", ["domain_path"], unique=False)
    op.create_index(op.f("ix_machine_host_id"), "machine", ["host_id"], unique=False)
    op.create_index("ix_machine_kind", "machine", ["kind", "removed"], unique=False)
    op.create_index(op.f("ix_machine_last_host_id"), "machine", ["last_host_id"], unique=False)
    op.create_index(op.f("ix_machine_network_id"), "machine", ["network_id"], unique=False)
    op.create_index(op.f("ix_machine_service_offering_id"), "machine", ["service_offering_id"], unique=False)
    op.create_index(op.f("ix_machine_template_id"), "machine", ["template_id"], unique=False)
    op.create_index(op.f("ix_machine_user_data_id"), "machine", ["user_data_id"], unique=False)
    op.create_index(op.f("ix_machine_wanted_host_id"), "machine", ["wanted_host_id"], unique=False)
    op.create_index(op.f("ix_machine_zone_id"), "machine", ["zone_id"], unique=False)


def _public_ip() -> None:
    op.create_table(
        "public_ip",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("zone_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("ip_range_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("address", sa.LargeBinary(length=16), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("network_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("vpc_id", sa.BigInteger(), nullable=True),
        sa.Column("machine_id", sa.BigInteger(), nullable=True),
        sa.Column("guest_address", sa.LargeBinary(length=16), nullable=True),
        sa.Column("source_nat", sa.Boolean(), nullable=False),
        sa.Column("static_nat", sa.Boolean(), nullable=False),
        sa.Column("system", sa.Boolean(), nullable=False),
        sa.Column("for_display", sa.Boolean(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=True),
        sa.Column("domain_id", sa.BigInteger(), nullable=True),
        sa.Column("domain_path", sa.String(length=255), nullable=True),
        sa.Column("allocated", sa.Double(), nullable=True),
        sa.Column("created", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["ip_range_id"], ["ip_range.id"], name=op.f("fk_public_ip_ip_range_id")),
        sa.ForeignKeyConstraint(["network_id"], ["network.id"], name=op.f("fk_public_ip_network_id")),
        sa.ForeignKeyConstraint(["zone_id"], ["zone.id"], name=op.f("fk_public_ip_zone_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_public_ip")),
        sa.UniqueConstraint("ip_range_id", "address", name=op.f("uq_public_ip_ip_range_id_address")),
        sa.UniqueConstraint("uuid", name=op.f("uq_public_ip_uuid")),
        comment="every address of every public range has a row; taking one is an UPDATE",
    )
    op.create_index(op.f("ix_public_ip_domain_path"), "public_ip", ["domain_path"], unique=False)
    op.create_index(op.f("ix_public_ip_ip_range_id"), "public_ip", ["ip_range_id"], unique=False)
    op.create_index(op.f("ix_public_ip_network_id"), "public_ip", ["network_id"], unique=False)
    op.create_index(op.f("ix_public_ip_zone_id"), "public_ip", ["zone_id"], unique=False)


def _storage_pool() -> None:
    op.create_table(
        "storage_pool",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("zone_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("pod_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("cluster_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("host_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("hypervisor", sa.Text(), nullable=False),
        sa.Column("capacity_bytes", sa.BigInteger(), nullable=False),
        sa.Column("used_bytes", sa.BigInteger(), nullable=False),
        sa.Column("details", sa.JSON(), nullable=True),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("removed", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["cluster_id"], ["cluster.id"], name=op.f("fk_storage_pool_cluster_id")),
        sa.ForeignKeyConstraint(["host_id"], ["host.id"], name=op.f("fk_storage_pool_host_id")),
        sa.ForeignKeyConstraint(["pod_id"], ["pod.id"], name=op.f("fk_storage_pool_pod_id")),
        sa.ForeignKeyConstraint(["zone_id"], ["zone.id"], name=op.f("fk_storage_pool_zone_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_storage_pool")),
        sa.UniqueConstraint("uuid", name=op.f("uq_storage_pool_uuid")),
    )
    op.create_index(op.f("ix_storage_pool_cluster_id"), "storage_pool", ["cluster_id"], unique=False)
    op.create_index(op.f("ix_storage_pool_host_id"), "storage_pool", ["host_id"], unique=False)
    op.create_index(op.f("ix_storage_pool_pod_id"), "storage_pool", ["pod_id"], unique=False)
    op.create_index(op.f("ix_storage_pool_zone_id"), "storage_pool", ["zone_id"], unique=False)


def _stray() -> None:
    op.create_table(
        "stray",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("host_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("machine", sa.String(length=36), nullable=False),
        sa.Column("incarnation", sa.BigInteger(), nullable=False),
        sa.Column("power", sa.Text(), nullable=False),
        sa.Column("kept", sa.Boolean(), nullable=False),
        sa.Column("found", sa.Double(), nullable=False),
        sa.Column("removed", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["host_id"], ["host.id"], name=op.f("fk_stray_host_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stray")),
        comment="machines on hosts that no placement knows: stopped, kept for sweep.grace, then removed",
    )
    op.create_index(op.f("ix_stray_host_id"), "stray", ["host_id"], unique=False)


def _console_session() -> None:
    op.create_table(
        "console_session",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("machine_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("proxy_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("host_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("user_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("ticket_hash", sa.String(length=64), nullable=False),
        sa.Column("ticket_until", sa.Double(), nullable=False),
        sa.Column("creator_address", sa.Text(), nullable=False),
        sa.Column("client_address", sa.Text(), nullable=False),
        sa.Column("extra_token_hash", sa.Text(), nullable=False),
        sa.Column("acquired", sa.Double(), nullable=True),
        sa.Column("ended", sa.Double(), nullable=True),
        sa.Column("account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("domain_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("domain_path", sa.String(length=255), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_console_session_account_id")),
        sa.ForeignKeyConstraint(["domain_id"], ["domain.id"], name=op.f("fk_console_session_domain_id")),
        sa.ForeignKeyConstraint(["host_id"], ["host.id"], name=op.f("fk_console_session_host_id")),
        sa.ForeignKeyConstraint(["machine_id"], ["machine.id"], name=op.f("fk_console_session_machine_id")),
        sa.ForeignKeyConstraint(["proxy_id"], ["machine.id"], name=op.f("fk_console_session_proxy_id")),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name=op.f("fk_console_session_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_console_session")),
        sa.UniqueConstraint("ticket_hash", name=op.f("uq_console_session_ticket_hash")),
        sa.UniqueConstraint("uuid", name=op.f("uq_console_session_uuid")),
    )
    op.create_index(op.f("ix_console_session_account_id"), "console_session", ["account_id"], unique=False)
    op.create_index(op.f("ix_console_session_domain_id"), "console_session", ["domain_id"], unique=False)
    op.create_index(op.f("ix_console_session_domain_path"), "console_session", ["domain_path"], unique=False)
    op.create_index(op.f("ix_console_session_host_id"), "console_session", ["host_id"], unique=False)
    op.create_index(op.f("ix_console_session_machine_id"), "console_session", ["machine_id"], unique=False)
    op.create_index(op.f("ix_console_session_proxy_id"), "console_session", ["proxy_id"], unique=False)
    op.create_index(op.f("ix_console_session_user_id"), "console_session", ["user_id"], unique=False)


def _firewall_rule() -> None:
    op.create_table(
        "firewall_rule",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("purpose", sa.String(length=32), nullable=False),
        sa.Column("public_ip_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("network_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("protocol", sa.Text(), nullable=False),
        sa.Column("first_port", sa.BigInteger(), nullable=True),
        sa.Column("last_port", sa.BigInteger(), nullable=True),
        sa.Column("icmp_type", sa.BigInteger(), nullable=True),
        sa.Column("icmp_code", sa.BigInteger(), nullable=True),
        sa.Column("sources", sa.JSON(), nullable=True),
        sa.Column("destinations", sa.JSON(), nullable=True),
        sa.Column("machine_id", sa.BigInteger(), nullable=True),
        sa.Column("guest_address", sa.LargeBinary(length=16), nullable=True),
        sa.Column("private_first_port", sa.BigInteger(), nullable=True),
        sa.Column("private_last_port", sa.BigInteger(), nullable=True),
        sa.Column("related_id", sa.BigInteger(), nullable=True),
        sa.Column("traffic_type", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("for_display", sa.Boolean(), nullable=False),
        sa.Column("account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("domain_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("domain_path", sa.String(length=255), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("removed", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_firewall_rule_account_id")),
        sa.ForeignKeyConstraint(["domain_id"], ["domain.id"], name=op.f("fk_firewall_rule_domain_id")),
        sa.ForeignKeyConstraint(["network_id"], ["network.id"], name=op.f("fk_firewall_rule_network_id")),
        sa.ForeignKeyConstraint(["public_ip_id"], ["public_ip.id"], name=op.f("fk_firewall_rule_public_ip_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_firewall_rule")),
        sa.UniqueConstraint("uuid", name=op.f("uq_firewall_rule_uuid")),
    )
    op.create_index(op.f("ix_firewall_rule_account_id"), "firewall_rule", ["account_id"], unique=False)
    op.create_index(op.f("ix_firewall_rule_domain_id"), "firewall_rule", ["domain_id"], unique=False)
    op.create_index(op.f("ix_firewall_rule_domain_path"), "firewall_rule", ["domain_path"], unique=False)
    op.create_index(op.f("ix_firewall_rule_network_id"), "firewall_rule", ["network_id"], unique=False)
    op.create_index(op.f("ix_firewall_rule_public_ip_id"), "firewall_rule", ["public_ip_id"], unique=False)


def _nic() -> None:
    op.create_table(
        "nic",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("machine_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("network_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("traffic", sa.String(length=16), nullable=False),
        sa.Column("device", sa.BigInteger(), nullable=False),
        sa.Column("mac", sa.String(length=17), nullable=False),
        sa.Column("gateway", sa.Text(), nullable=False),
        sa.Column("gateway6", sa.Text(), nullable=False),
        sa.Column("netmask", sa.Text(), nullable=False),
        sa.Column("is_default", sa.Boolean(), nullable=False),
        sa.Column("public_range_id", sa.BigInteger(), nullable=True),
        sa.Column("mtu", sa.BigInteger(), nullable=False),
        sa.Column("rate_mbit", sa.BigInteger(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("removed", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["machine_id"], ["machine.id"], name=op.f("fk_nic_machine_id")),
        sa.ForeignKeyConstraint(["network_id"], ["network.id"], name=op.f("fk_nic_network_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_nic")),
        sa.UniqueConstraint("uuid", name=op.f("uq_nic_uuid")),
    )
    op.create_index(op.f("ix_nic_machine_id"), "nic", ["machine_id"], unique=False)
    op.create_index(op.f("ix_nic_network_id"), "nic", ["network_id"], unique=False)
    op.create_index(
        "uq_nic_mac",
        "nic",
        ["mac"],
        unique=True,
        sqlite_where=sa.text("removed IS NULL"),
        postgresql_where=sa.text("removed IS NULL"),
    )


def _placement() -> None:
    op.create_table(
        "placement",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("machine_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("incarnation", sa.BigInteger(), nullable=False),
        sa.Column("host_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("wanted", sa.String(length=16), nullable=False),
        sa.Column("power", sa.Text(), nullable=False),
        sa.Column("agent_up", sa.Boolean(), nullable=False),
        sa.Column("agent_boot", sa.Text(), nullable=False),
        sa.Column("spec_wanted", sa.Text(), nullable=False),
        sa.Column("spec_seen", sa.Text(), nullable=False),
        sa.Column("document_wanted", sa.Text(), nullable=False),
        sa.Column("document_live", sa.Text(), nullable=False),
        sa.Column("faults", sa.JSON(), nullable=True),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("told", sa.BigInteger(), nullable=False),
        sa.Column("settled", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.BigInteger(), nullable=False),
        sa.Column("since", sa.Double(), nullable=True),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("removed", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["host_id"], ["host.id"], name=op.f("fk_placement_host_id")),
        sa.ForeignKeyConstraint(["machine_id"], ["machine.id"], name=op.f("fk_placement_machine_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_placement")),
        sa.UniqueConstraint("machine_id", "incarnation", "host_id", name=op.f("uq_placement_machine_id_incarnation_host_id")),
        comment="what a host is asked to have",
    )
    op.create_index(op.f("ix_placement_host_id"), "placement", ["host_id"], unique=False)


def _pool_image() -> None:
    op.create_table(
        "pool_image",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("template_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("pool_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("host_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("progress", sa.Double(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["host_id"], ["host.id"], name=op.f("fk_pool_image_host_id")),
        sa.ForeignKeyConstraint(["pool_id"], ["storage_pool.id"], name=op.f("fk_pool_image_pool_id")),
        sa.ForeignKeyConstraint(["template_id"], ["template.id"], name=op.f("fk_pool_image_template_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pool_image")),
        sa.UniqueConstraint("host_id", "pool_id", "sha256", name=op.f("uq_pool_image_host_id_pool_id_sha256")),
        comment="a template's bytes on a host's primary storage",
    )
    op.create_index(op.f("ix_pool_image_host_id"), "pool_image", ["host_id"], unique=False)
    op.create_index(op.f("ix_pool_image_pool_id"), "pool_image", ["pool_id"], unique=False)
    op.create_index(op.f("ix_pool_image_template_id"), "pool_image", ["template_id"], unique=False)


def _template_copy() -> None:
    op.create_table(
        "template_copy",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("template_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("zone_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("store_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("machine_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("progress", sa.Double(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("tries", sa.BigInteger(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("wanted", sa.Boolean(), nullable=False),
        sa.Column("wanted_store_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("left_store_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("removed", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["left_store_id"], ["image_store.id"], name=op.f("fk_template_copy_left_store_id")),
        sa.ForeignKeyConstraint(["machine_id"], ["machine.id"], name=op.f("fk_template_copy_machine_id")),
        sa.ForeignKeyConstraint(["store_id"], ["image_store.id"], name=op.f("fk_template_copy_store_id")),
        sa.ForeignKeyConstraint(["template_id"], ["template.id"], name=op.f("fk_template_copy_template_id")),
        sa.ForeignKeyConstraint(["wanted_store_id"], ["image_store.id"], name=op.f("fk_template_copy_wanted_store_id")),
        sa.ForeignKeyConstraint(["zone_id"], ["zone.id"], name=op.f("fk_template_copy_zone_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_template_copy")),
        comment="a template or ISO on an image store of a zone",
    )
    op.create_index(op.f("ix_template_copy_left_store_id"), "template_copy", ["left_store_id"], unique=False)
    op.create_index(op.f("ix_template_copy_machine_id"), "template_copy", ["machine_id"], unique=False)
    op.create_index(op.f("ix_template_copy_store_id"), "template_copy", ["store_id"], unique=False)
    op.create_index(op.f("ix_template_copy_template_id"), "template_copy", ["template_id"], unique=False)
    op.create_index(op.f("ix_template_copy_wanted_store_id"), "template_copy", ["wanted_store_id"], unique=False)
    op.create_index(op.f("ix_template_copy_zone_id"), "template_copy", ["zone_id"], unique=False)


def _volume() -> None:
    op.create_table(
        "volume",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("zone_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("pool_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("host_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("machine_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("device", sa.BigInteger(), nullable=True),
        sa.Column("template_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("disk_offering_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("attached", sa.Double(), nullable=True),
        sa.Column("account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("domain_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("domain_path", sa.String(length=255), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("removed", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_volume_account_id")),
        sa.ForeignKeyConstraint(["disk_offering_id"], ["disk_offering.id"], name=op.f("fk_volume_disk_offering_id")),
        sa.ForeignKeyConstraint(["domain_id"], ["domain.id"], name=op.f("fk_volume_domain_id")),
        sa.ForeignKeyConstraint(["host_id"], ["host.id"], name=op.f("fk_volume_host_id")),
        sa.ForeignKeyConstraint(["machine_id"], ["machine.id"], name=op.f("fk_volume_machine_id")),
        sa.ForeignKeyConstraint(["pool_id"], ["storage_pool.id"], name=op.f("fk_volume_pool_id")),
        sa.ForeignKeyConstraint(["template_id"], ["template.id"], name=op.f("fk_volume_template_id")),
        sa.ForeignKeyConstraint(["zone_id"], ["zone.id"], name=op.f("fk_volume_zone_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_volume")),
        sa.UniqueConstraint("uuid", name=op.f("uq_volume_uuid")),
    )
    op.create_index(op.f("ix_volume_account_id"), "volume", ["account_id"], unique=False)
    op.create_index(op.f("ix_volume_disk_offering_id"), "volume", ["disk_offering_id"], unique=False)
    op.create_index(op.f("ix_volume_domain_id"), "volume", ["domain_id"], unique=False)
    op.create_index(op.f("ix_volume_domain_path"), "volume", ["domain_path"], unique=False)
    op.create_index(op.f("ix_volume_host_id"), "volume", ["host_id"], unique=False)
    op.create_index(op.f("ix_volume_machine_id"), "volume", ["machine_id"], unique=False)
    op.create_index(op.f("ix_volume_pool_id"), "volume", ["pool_id"], unique=False)
    op.create_index(op.f("ix_volume_template_id"), "volume", ["template_id"], unique=False)
    op.create_index(op.f("ix_volume_zone_id"), "volume", ["zone_id"], unique=False)


def _nic_address() -> None:
    op.create_table(
        "nic_address",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("nic_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("network_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("address", sa.LargeBinary(length=16), nullable=False),
        sa.Column("prefix", sa.BigInteger(), nullable=False),
        sa.Column("is_primary", sa.Boolean(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("removed", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["network_id"], ["network.id"], name=op.f("fk_nic_address_network_id")),
        sa.ForeignKeyConstraint(["nic_id"], ["nic.id"], name=op.f("fk_nic_address_nic_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_nic_address")),
        sa.UniqueConstraint("uuid", name=op.f("uq_nic_address_uuid")),
        comment="addresses of NICs, both families; secondary ones too",
    )
    op.create_index(op.f("ix_nic_address_network_id"), "nic_address", ["network_id"], unique=False)
    op.create_index(op.f("ix_nic_address_nic_id"), "nic_address", ["nic_id"], unique=False)
    op.create_index(
        "uq_nic_address",
        "nic_address",
        ["network_id", "address"],
        unique=True,
        sqlite_where=sa.text("removed IS NULL AND network_id IS NOT NULL"),
        postgresql_where=sa.text("removed IS NULL AND network_id IS NOT NULL"),
    )


def _private_ip() -> None:
    op.create_table(
        "private_ip",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("ip_range_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("address", sa.LargeBinary(length=16), nullable=False),
        sa.Column("nic_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.ForeignKeyConstraint(["ip_range_id"], ["ip_range.id"], name=op.f("fk_private_ip_ip_range_id")),
        sa.ForeignKeyConstraint(["nic_id"], ["nic.id"], name=op.f("fk_private_ip_nic_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_private_ip")),
        sa.UniqueConstraint("ip_range_id", "address", name=op.f("uq_private_ip_ip_range_id_address")),
        comment="taken addresses of management, storage and shared ranges",
    )
    op.create_index(op.f("ix_private_ip_ip_range_id"), "private_ip", ["ip_range_id"], unique=False)
    op.create_index(op.f("ix_private_ip_nic_id"), "private_ip", ["nic_id"], unique=False)


TABLES = (
    _alert,
    _certificate,
    _cloud,
    _disk_offering,
    _domain,
    _guest_os,
    _resource_limit,
    _role,
    _service_offering,
    _session,
    _setting,
    _task,
    _turn,
    _zone,
    _account,
    _image_store,
    _network_offering,
    _physical_network,
    _pod,
    _role_permission,
    _vpc_offering,
    _cluster,
    _event,
    _network,
    _project,
    _service_provider,
    _ssh_key_pair,
    _tag,
    _template,
    _traffic_type,
    _usage_interval,
    _user,
    _user_data,
    _annotation,
    _api_session,
    _host,
    _ip_range,
    _job,
    _adoption,
    _control_ip,
    _host_certificate,
    _host_token,
    _job_part,
    _machine,
    _public_ip,
    _storage_pool,
    _stray,
    _console_session,
    _firewall_rule,
    _nic,
    _placement,
    _pool_image,
    _template_copy,
    _volume,
    _nic_address,
    _private_ip,
)
