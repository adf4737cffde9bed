"""The offerings that every cloud begins with, under CloudStack's unique names: system offerings, two for guests, and the
default network and VPC offerings. Clients and the orchestrator look them up by these names.

Memory and CPU are limits, not reservations.
"""

from typing import Any

from sysvm.basics.ids import Ids
from sysvm.store import tables
from sysvm.store.store import Tx

# unique name, display name, kind of system VM, memory (MB)
SYSTEM = (
    ("Cloud.Com-SoftwareRouter", "System Offering For Software Router", "domainrouter", 512),
    ("Cloud.com-ConsoleProxy", "System Offering For Console Proxy", "consoleproxy", 1024),
    ("Cloud.com-SecondaryStorage", "System Offering For Secondary Storage VM", "secondarystoragevm", 512),
    ("Cloud.Com-InternalLBVm", "System Offering For Internal LB VM", "internalloadbalancervm", 512),
)
# unique name, name, display text, CPUs, MHz, memory (MB)
GUESTS = (
    ("Cloud.Com-Small Instance", "Small Instance", "Small Instance", 1, 500, 512),
    ("Cloud.Com-Medium Instance", "Medium Instance", "Medium Instance", 1, 1000, 1024),
)
# name, size in GB (0: the user's choice)
DISKS = (("Small", 5), ("Medium", 20), ("Large", 100), ("Custom", 0))
ROUTER, VPC_ROUTER = "VirtualRouter", "VpcVirtualRouter"
ISOLATED = ("Dhcp", "Dns", "Firewall", "Lb", "UserData", "SourceNat", "StaticNat", "PortForwarding", "Vpn")
SHARED = ("Dhcp", "Dns", "UserData")
VPC_TIER = ("Dhcp", "Dns", "Lb", "UserData", "SourceNat", "StaticNat", "PortForwarding", "NetworkACL", "Vpn")


def system_offerings(tx: Tx, ids: Ids) -> None:
    """What routers, console proxies and secondary storage VMs are made of; a twin of each is for local storage."""
    for unique_name, name, kind, memory in SYSTEM:
        for suffix, label, storage in (("", "", "shared"), ("-Local", " - Local Storage", "local")):
            tx.insert(
                tables.service_offering,
                uuid=ids.uuid(),
                unique_name=f"{unique_name}{suffix}",
                name=f"{name}{label}",
                display_text=f"{name}{label}",
                cpus=1,
                cpu_mhz=500,
                memory_mb=memory,
                is_system=True,
                system_vm_type=kind,
                default_use=True,
                offer_ha=True,
                storage_type=storage,
                details={},
                created=tx.now,
            )


def guest_offerings(tx: Tx, ids: Ids) -> None:
    """Small and medium guests; four sizes of disks."""
    for unique_name, name, text, cpus, mhz, memory in GUESTS:
        tx.insert(
            tables.service_offering,
            uuid=ids.uuid(),
            unique_name=unique_name,
            name=name,
            display_text=text,
            cpus=cpus,
            cpu_mhz=mhz,
            memory_mb=memory,
            details={},
            created=tx.now,
        )
    for name, size in DISKS:
        text = f"{name} Disk, {size} GB" if size else "Custom Disk"
        tx.insert(
            tables.disk_offering,
            uuid=ids.uuid(),
            name=name,
            display_text=text,
            size_bytes=size * 1024**3,
            customized=not size,
            details={},
            created=tx.now,
        )


def _services(names: tuple[str, ...], provider: str, special: dict[str, str] | None = None) -> dict[str, Any]:
    """Services as rows hold them. Who has source NAT has a gateway."""
    chosen = (*names, *(("Gateway",) if "SourceNat" in names else ()))
    found: dict[str, Any] = {}
    for name in chosen:
        who = (special or {}).get(name, provider)
        capabilities = {"SupportedSourceNatTypes": "peraccount", "RedundantRouter": "false"} if name == "SourceNat" else {}
        found[name] = {"provider": who, "providers": [who], "capabilities": capabilities}
    return found


def _network_offering(tx: Tx, ids: Ids, name: str, text: str, services: dict[str, Any], **columns: Any) -> None:
    defaults = {"guest_type": "Isolated", "conserve_mode": "true"}
    tx.insert(
        tables.network_offering,
        uuid=ids.uuid(),
        unique_name=name,
        name=name,
        display_text=text,
        state="Enabled",
        is_default=True,
        services=services,
        details={},
        created=tx.now,
        **{**defaults, **columns},
    )


def network_offerings(tx: Tx, ids: Ids) -> None:
    """The default ones that can be made true here."""
    shared = {"guest_type": "Shared", "specify_vlan": True, "specify_ip_ranges": True}
    _network_offering(
        tx, ids, "DefaultSharedNetworkOfferingWithSGService", "Offering for Shared Security group enabled networks",
        _services((*SHARED, "SecurityGroup"), ROUTER, {"SecurityGroup": "SecurityGroupProvider"}), **shared,
    )  # fmt: skip
    _network_offering(
        tx, ids, "DefaultSharedNetworkOffering", "Offering for Shared networks", _services(SHARED, ROUTER), **shared
    )
    _network_offering(
        tx, ids, "DefaultIsolatedNetworkOfferingWithSourceNatService",
        "Offering for Isolated networks with Source Nat service enabled", _services(ISOLATED, ROUTER),
        availability="Required",
    )  # fmt: skip
    _network_offering(
        tx, ids, "DefaultIsolatedNetworkOffering", "Offering for Isolated networks with no Source Nat service",
        _services(SHARED, ROUTER), specify_vlan=True,
    )  # fmt: skip
    _network_offering(tx, ids, "QuickCloudNoServices", "Offering for QuickCloud with no services", {}, **shared)
    _network_offering(
        tx, ids, "DefaultNetworkOfferingforKubernetesService", "Network Offering used for CloudStack Kubernetes service",
        _services(ISOLATED, ROUTER), egress_default_allow=True,
    )  # fmt: skip


def vpc_network_offerings(tx: Tx, ids: Ids) -> None:
    """The default ones of tiers."""
    tier = {"for_vpc": True, "conserve_mode": "false"}
    _network_offering(
        tx, ids, "DefaultIsolatedNetworkOfferingForVpcNetworks",
        "Offering for Isolated Vpc networks with Source Nat service enabled", _services(VPC_TIER, VPC_ROUTER), **tier,
    )  # fmt: skip
    _network_offering(
        tx, ids, "DefaultIsolatedNetworkOfferingForVpcNetworksNoLB",
        "Offering for Isolated Vpc networks with Source Nat service enabled and LB service Disabled",
        _services(tuple(name for name in VPC_TIER if name != "Lb"), VPC_ROUTER), **tier,
    )  # fmt: skip
    inside = _services(VPC_TIER, VPC_ROUTER, {"Lb": "InternalLbVm"})
    inside["Lb"]["capabilities"]["LbSchemes"] = "internal"
    _network_offering(
        tx, ids, "DefaultIsolatedNetworkOfferingForVpcNetworksWithInternalLB",
        "Offering for Isolated Vpc networks with Internal LB support",
        inside, **tier,
    )  # fmt: skip


def vpc_offerings(tx: Tx, ids: Ids) -> None:
    """One router, or two."""
    for name, redundant in (("Default VPC offering", False), ("Redundant VPC offering", True)):
        services = _services(VPC_TIER, VPC_ROUTER)
        services["Lb"]["providers"].append("InternalLbVm")
        services["SourceNat"]["capabilities"]["RedundantRouter"] = "true" if redundant else "false"
        tx.insert(
            tables.vpc_offering,
            uuid=ids.uuid(),
            unique_name=name,
            name=name,
            display_text=name,
            state="Enabled",
            is_default=True,
            redundant=redundant,
            services=services,
            created=tx.now,
        )


STEPS = (system_offerings, guest_offerings, network_offerings, vpc_network_offerings, vpc_offerings)
