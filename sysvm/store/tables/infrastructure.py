"""What the operator provides: zones, pods, clusters, hosts, physical networks, address ranges, stores."""

import sqlalchemy as sa

from sysvm.store.tables.base import address, data, flag, instant, key, life, metadata, number, ref, text, uuid

zone = sa.Table(
    "zone",
    metadata,
    key(),
    uuid(),
    text("name"),
    text("network_type", "Advanced"),
    flag("security_groups"),
    flag("local_storage"),
    text("dns1"),
    text("dns2"),
    text("ip6dns1"),
    text("ip6dns2"),
    text("internal_dns1"),
    text("internal_dns2"),
    text("guest_cidr", "10.1.1.0/24"),
    text("network_domain"),
    text("description"),
    text("allocation_state", "Disabled"),
    text("dhcp_provider", "VirtualRouter"),
    number("domain_id", null=True, default=None),  # dedicated to
    text("zone_token"),
    data("details"),  # enable.consoleproxy.vm, ...
    number("sort_key"),
    text("brake"),  # systemvms.safety.Brake: which healing has stopped
    text("brake_why"),
    *life(),
)

pod = sa.Table(
    "pod",
    metadata,
    key(),
    uuid(),
    ref("zone_id", "zone"),
    text("name"),
    text("gateway"),
    text("netmask"),
    text("allocation_state", "Enabled"),
    *life(),
)

cluster = sa.Table(
    "cluster",
    metadata,
    key(),
    uuid(),
    ref("zone_id", "zone"),
    ref("pod_id", "pod"),
    text("name"),
    text("hypervisor"),
    text("cluster_type", "CloudManaged"),
    text("allocation_state", "Enabled"),
    text("managed_state", "Managed"),
    data("details"),
    *life(),
)

host = sa.Table(
    "host",
    metadata,
    key(),
    uuid(),
    text("name"),
    ref("zone_id", "zone"),
    ref("pod_id", "pod"),
    ref("cluster_id", "cluster"),
    text("hypervisor"),
    text("address"),  # as given to addHost
    text("state", "Creating"),  # Creating | Connecting | Up | Down | Disconnected | Alert | Maintenance...
    text("resource_state", "Enabled"),
    sa.Column("link_session", sa.String(36), nullable=True, index=True),  # the server that holds its link
    number("link_epoch"),
    text("boot_id"),
    instant("booted"),  # when this boot id was first seen: what ran before that has ended
    text("version"),
    data("facts"),  # wire HostFacts as JSON
    number("cpus"),
    number("cpu_mhz"),
    number("memory_bytes"),
    number("machines"),  # placements here, and the memory that they leave: queries/placements
    number("memory_free_mb"),
    text("management_address"),
    text("document_live"),
    instant("renew_after"),  # its certificate shall be younger than that
    text("tags"),
    instant("connected"),
    instant("disconnected"),
    instant("last_seen"),
    text("why"),
    *life(),
    sa.Index("ix_host_room", "zone_id", "machines", sa.text("memory_free_mb desc"), "id"),
)

host_token = sa.Table(
    "host_token",
    metadata,
    key(),
    ref("host_id", "host"),
    sa.Column("token_hash", sa.String(64), nullable=False, unique=True),
    instant("until", null=False),
    instant("redeemed"),
    comment="one-time tokens for first contact; a second redemption revokes the host and alerts",
)

host_certificate = sa.Table(
    "host_certificate",
    metadata,
    key(),
    ref("host_id", "host"),
    sa.Column("serial", sa.String(64), nullable=False, unique=True),
    sa.Column("key_fingerprint", sa.String(64), nullable=False, index=True),
    instant("not_after", null=False),
    instant("revoked"),
    instant("created", null=False),
)

physical_network = sa.Table(
    "physical_network",
    metadata,
    key(),
    uuid(),
    ref("zone_id", "zone"),
    text("name"),
    text("state", "Disabled"),
    text("isolation_methods"),
    text("vlan"),
    text("network_speed"),
    text("broadcast_domain_range", "ZONE"),
    text("tags"),
    number("domain_id", null=True, default=None),
    *life(),
)

traffic_type = sa.Table(
    "traffic_type",
    metadata,
    key(),
    uuid(),
    ref("physical_network_id", "physical_network"),
    text("traffic_type"),  # Guest | Public | Management | Storage
    data("labels"),
    *life(),
)

service_provider = sa.Table(
    "service_provider",
    metadata,
    key(),
    uuid(),
    ref("physical_network_id", "physical_network"),
    text("name"),
    text("state", "Disabled"),
    data("services"),
    flag("element_enabled"),  # VirtualRouter and InternalLbVm: the element behind the provider
    text("element_uuid"),
    *life(),
)

ip_range = sa.Table(
    "ip_range",
    metadata,
    key(),
    uuid(),
    ref("zone_id", "zone", null=True),  # portable ranges are of no zone
    ref("pod_id", "pod", null=True),
    ref("physical_network_id", "physical_network", null=True),
    ref("network_id", "network", null=True),  # shared guest networks
    text("traffic"),  # Public | Portable | Management | Storage | Guest
    text("vlan", "untagged"),
    text("gateway"),
    text("netmask"),
    text("ip6_gateway"),
    text("ip6_cidr"),
    address("first", null=True),  # of IPv4; a range of a shared network may be of IPv6 alone
    address("last", null=True),
    address("first6", null=True),
    address("last6", null=True),
    flag("for_system_vms"),
    number("account_id", null=True, default=None),
    number("domain_id", null=True, default=None),
    *life(),
    comment="createVlanIpRange, createPod, createStorageNetworkIpRange: all ranges of addresses",
)

storage_pool = sa.Table(
    "storage_pool",
    metadata,
    key(),
    uuid(),
    ref("zone_id", "zone"),
    ref("pod_id", "pod", null=True),
    ref("cluster_id", "cluster", null=True),
    ref("host_id", "host", null=True),
    text("name"),
    text("url"),
    text("type"),
    text("path"),
    text("scope", "CLUSTER"),
    text("state", "Up"),
    text("tags"),
    text("provider", "DefaultPrimary"),
    text("hypervisor"),
    number("capacity_bytes"),
    number("used_bytes"),
    data("details"),
    *life(),
)

image_store = sa.Table(
    "image_store",
    metadata,
    key(),
    uuid(),
    ref("zone_id", "zone", null=True),
    text("name"),
    text("url"),
    text("protocol"),
    text("provider"),
    text("scope", "ZONE"),
    flag("read_only"),
    number("capacity_bytes"),
    number("used_bytes"),
    data("details"),
    instant("scrubbed"),  # when all of it was read and compared last
    text("note"),  # what a secondary storage VM says is wrong with it
    *life(),
)
