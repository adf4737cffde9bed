"""Every table. Import this module, not its parts: `from sysvm.store import tables`."""

from sysvm.store.tables.accounts import (
    account,
    domain,
    project,
    resource_detail,
    resource_limit,
    role,
    role_permission,
    ssh_key_pair,
    tag,
    user,
    user_data,
)
from sysvm.store.tables.base import metadata, pack_address, unpack_address
from sysvm.store.tables.engine import api_session, cloud, job, job_part, session, task, turn
from sysvm.store.tables.guest_groups import affinity_group, affinity_group_member, instance_group
from sysvm.store.tables.health import router_health
from sysvm.store.tables.images import guest_os, pool_image, template, template_copy
from sysvm.store.tables.infrastructure import (
    cluster,
    host,
    host_certificate,
    host_token,
    image_store,
    ip_range,
    physical_network,
    pod,
    service_provider,
    storage_pool,
    traffic_type,
    zone,
)
from sysvm.store.tables.load_balancers import (
    lb_health_check,
    lb_stickiness,
    load_balancer,
    load_balancer_member,
    ssl_certificate,
)
from sysvm.store.tables.machines import machine, nic, nic_address, placement, volume
from sysvm.store.tables.networks import control_ip, firewall_rule, network, private_ip, public_ip, traffic_counter
from sysvm.store.tables.offerings import disk_offering, network_offering, service_offering, vpc_offering
from sysvm.store.tables.prefixes6 import guest_prefix6, guest_subnet6
from sysvm.store.tables.projects import project_member
from sysvm.store.tables.records import (
    alert,
    annotation,
    certificate,
    console_session,
    event,
    setting,
    usage_interval,
)
from sysvm.store.tables.security_groups import security_group, security_group_member, security_group_rule
from sysvm.store.tables.snapshots import snapshot, snapshot_copy, snapshot_policy, vm_snapshot
from sysvm.store.tables.strays import adoption, stray
from sysvm.store.tables.vlan_ranges import guest_vlan_range
from sysvm.store.tables.vpc import network_acl, network_acl_list, private_gateway, static_route, vpc
from sysvm.store.tables.vpn import remote_access_vpn, vpn_connection, vpn_customer_gateway, vpn_gateway, vpn_user
from sysvm.store.tables.wireguard import wireguard_peer, wireguard_server

__all__ = [
    "account", "adoption", "affinity_group", "affinity_group_member", "alert", "annotation", "api_session",
    "certificate", "cloud", "cluster", "console_session",
    "control_ip", "disk_offering", "domain", "event", "firewall_rule", "guest_os", "guest_prefix6", "guest_subnet6",
    "guest_vlan_range", "host", "host_certificate", "host_token", "image_store", "instance_group", "ip_range",
    "job", "job_part", "lb_health_check", "lb_stickiness", "load_balancer",
    "load_balancer_member", "machine", "metadata", "network", "network_acl", "network_acl_list",
    "network_offering", "nic", "nic_address", "pack_address",
    "physical_network", "placement", "pod", "pool_image", "private_gateway", "private_ip", "project",
    "project_member",
    "public_ip", "remote_access_vpn",
    "resource_detail", "resource_limit",
    "role", "role_permission", "security_group", "security_group_member", "security_group_rule", "service_offering",
    "router_health", "service_provider", "session", "setting", "snapshot", "snapshot_copy", "snapshot_policy",
    "ssh_key_pair", "ssl_certificate",
    "static_route", "storage_pool", "stray", "tag", "task", "template", "template_copy", "traffic_counter", "traffic_type",
    "turn",
    "unpack_address", "usage_interval", "user", "user_data", "vm_snapshot", "volume",
    "vpc", "vpc_offering", "vpn_connection", "vpn_customer_gateway", "vpn_gateway", "vpn_user", "wireguard_peer",
    "wireguard_server", "zone",
]  # fmt: skip
