"""Services of network and VPC offerings: who provides which, what can be chosen, and what fits together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sysvm.basics.errors import Refused

ROUTER = "VirtualRouter"
VPC_ROUTER = "VpcVirtualRouter"
INTERNAL_LB = "InternalLbVm"
SECURITY_GROUPS = "SecurityGroupProvider"

PROVIDERS: dict[str, tuple[str, ...]] = {
    ROUTER: (
        "Vpn", "Dhcp", "Dns", "Gateway", "Firewall", "Lb", "UserData", "SourceNat", "StaticNat", "PortForwarding",
    ),
    VPC_ROUTER: (
        "Vpn", "Dhcp", "Dns", "Gateway", "Lb", "UserData", "SourceNat", "StaticNat", "PortForwarding", "NetworkACL",
    ),
    INTERNAL_LB: ("Lb",),
    SECURITY_GROUPS: ("SecurityGroup",),
}  # fmt: skip
SERVICES = tuple(dict.fromkeys(service for services in PROVIDERS.values() for service in services))
_services = {service.lower(): service for service in SERVICES}
_providers = {provider.lower(): provider for provider in PROVIDERS}

STICKINESS = (
    '[{"methodname":"LbCookie","paramlist":[{"paramname":"cookie-name","required":false,"isflag":false},'
    '{"paramname":"mode","required":false,"isflag":false},{"paramname":"nocache","required":false,"isflag":true},'
    '{"paramname":"indirect","required":false,"isflag":true},{"paramname":"postonly","required":false,"isflag":true},'
    '{"paramname":"domain","required":false,"isflag":false}]},'
    '{"methodname":"AppCookie","paramlist":[{"paramname":"cookie-name","required":false,"isflag":false},'
    '{"paramname":"length","required":false,"isflag":false},{"paramname":"holdtime","required":false,"isflag":false},'
    '{"paramname":"request-learn","required":false,"isflag":true},{"paramname":"prefix","required":false,"isflag":true},'
    '{"paramname":"mode","required":false,"isflag":false}]},'
    '{"methodname":"SourceBased","paramlist":[{"paramname":"tablesize","required":false,"isflag":false},'
    '{"paramname":"expire","required":false,"isflag":false}]}]'
)
CAPABILITIES: dict[str, dict[str, str]] = {
    "Lb": {
        "SupportedLBAlgorithms": "roundrobin,leastconn,source",
        "SupportedLBIsolation": "dedicated",
        "SupportedProtocols": "tcp, udp, tcp-proxy, ssl",
        "SupportedStickinessMethods": STICKINESS,
        "LbSchemes": "Public",
        "SslTermination": "true",
        "VmAutoScaling": "true",
    },
    "Firewall": {
        "TrafficStatistics": "per public ip",
        "SupportedProtocols": "tcp,udp,icmp",
        "SupportedEgressProtocols": "tcp,udp,icmp, all",
        "SupportedTrafficDirection": "ingress, egress",
        "MultipleIps": "true",
    },
    "Vpn": {"SupportedVpnTypes": "pptp,l2tp,ipsec", "VpnTypes": "remoteaccessvpn"},
    "Dns": {"AllowDnsSuffixModification": "true"},
    "Dhcp": {"DhcpAccrossMultipleSubnets": "true"},
    "Gateway": {"RedundantRouter": "true"},
    "SourceNat": {"SupportedSourceNatTypes": "peraccount", "RedundantRouter": "true"},
    "PortForwarding": {"SupportedProtocols": "tcp,udp"},
    "NetworkACL": {"SupportedProtocols": "tcp,udp,icmp"},
    "StaticNat": {},
    "UserData": {},
    "SecurityGroup": {},
}

# What an offering may say of a capability: (service, capability in lower case) -> allowed values in lower case.
CHOICES: dict[tuple[str, str], tuple[str, ...]] = {
    ("SourceNat", "redundantrouter"): ("true", "false"),
    ("Gateway", "redundantrouter"): ("true", "false"),
    ("SourceNat", "supportedsourcenattypes"): ("peraccount",),
    ("Lb", "supportedlbisolation"): ("dedicated", "shared"),
    ("Lb", "lbschemes"): ("public", "internal"),
    ("Lb", "vmautoscaling"): ("true", "false"),
    ("StaticNat", "associatepublicip"): ("false",),
    ("StaticNat", "elasticip"): ("false",),
    ("Lb", "elasticlb"): ("false",),
    ("Lb", "inlinemode"): ("false",),
    ("Connectivity", "stretchedl2subnet"): ("false",),
}
_proper = {
    "redundantrouter": "RedundantRouter", "supportedsourcenattypes": "SupportedSourceNatTypes",
    "supportedlbisolation": "SupportedLBIsolation", "lbschemes": "LbSchemes", "vmautoscaling": "VmAutoScaling",
}  # fmt: skip
CHOOSABLE = frozenset({"SupportedLBIsolation", "SupportedSourceNatTypes", "RedundantRouter"})
ONLY_VPC = frozenset({"NetworkACL"})
NOT_VPC = frozenset({"Firewall", "SecurityGroup"})
GUEST_TYPES = {"isolated": "Isolated", "shared": "Shared", "l2": "L2"}


@dataclass(frozen=True, slots=True)
class Shape:
    """What kind of network an offering is for."""

    guest_type: str
    for_vpc: bool = False
    specify_vlan: bool = False
    specify_ip_ranges: bool = False
    persistent: bool = False


@dataclass(frozen=True, slots=True)
class Services:
    """Services of an offering, as its row holds them."""

    rows: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def redundant(self) -> bool:
        """Whether networks of it have two routers."""
        chosen = self.rows.get("SourceNat", {}).get("capabilities", {})
        return str(chosen.get("RedundantRouter", "false")) == "true"


def is_redundant(offering: Any) -> bool:
    """Whether networks of an offering's row have two routers."""
    return Services(offering.services or {}).redundant


def guest_type(text: str) -> str:
    """Isolated, Shared or L2."""
    found = GUEST_TYPES.get(text.strip().lower())
    if found is None:
        raise Refused('Invalid "type" parameter is given; can have Shared, Isolated and L2 values')
    return found


def service(text: str) -> str:
    """The service's proper name."""
    found = _services.get(text.strip().lower())
    if found is None:
        raise Refused(f"Invalid service {text!r}; services are {', '.join(SERVICES)}")
    return found


def provider(text: str) -> str:
    """The provider's proper name."""
    found = _providers.get(text.strip().lower())
    if found is None:
        raise Refused(f"Invalid service provider {text!r}; providers are {', '.join(PROVIDERS)}")
    return found


def of_offering(
    supported: Sequence[str],
    providers: Sequence[Mapping[str, str]],
    capabilities: Sequence[Mapping[str, str]],
    *,
    shape: Shape,
) -> Services:
    """The services that an offering shall have."""
    chosen: dict[str, list[str]] = {}
    default = VPC_ROUTER if shape.for_vpc else ROUTER
    names = [service(name) for name in supported]
    for entry in providers:
        if "service" not in entry or "provider" not in entry:
            raise Refused("Each entry of serviceproviderlist needs service and provider")
        name, who = service(entry["service"]), provider(entry["provider"])
        if name not in names:
            raise Refused(f"Service {name} is not enabled for the network offering, can't add a provider to it")
        if name not in PROVIDERS[who]:
            raise Refused(f"Provider {who} doesn't support service {name}")
        chosen.setdefault(name, []).append(who)
    for name in names:
        chosen.setdefault(name, [SECURITY_GROUPS if name == "SecurityGroup" else default])
    if "SourceNat" in chosen:
        chosen.setdefault("Gateway", list(chosen["SourceNat"]))
    _fits(chosen, shape)
    rows = {name: _row(who) for name, who in chosen.items()}
    for entry in capabilities:
        _choose(rows, entry)
    _check_scheme(rows.get("Lb"))
    return Services(rows)


def _row(providers: list[str]) -> dict[str, Any]:
    distinct = list(dict.fromkeys(providers))
    return {"provider": distinct[0], "providers": distinct, "capabilities": {}}


def _fits(chosen: Mapping[str, Sequence[str]], shape: Shape) -> None:
    routers = {who for providers in chosen.values() for who in providers}
    if shape.for_vpc and (wrong := NOT_VPC & set(chosen)):
        raise Refused(f"Service {sorted(wrong)[0]} is not supported in a VPC; use NetworkACL")
    if not shape.for_vpc and (wrong := ONLY_VPC & set(chosen)):
        raise Refused(f"Service {sorted(wrong)[0]} is supported in a VPC only (forvpc=true)")
    if shape.for_vpc and ROUTER in routers:
        raise Refused(f"Provider {ROUTER} can't serve networks of a VPC; use {VPC_ROUTER}")
    if not shape.for_vpc and routers & {VPC_ROUTER, INTERNAL_LB}:
        raise Refused(f"Providers {VPC_ROUTER} and {INTERNAL_LB} serve networks of a VPC only (forvpc=true)")
    if "SecurityGroup" in chosen and shape.guest_type != "Shared":
        raise Refused("Service SecurityGroup is for Shared networks only")
    if shape.guest_type == "L2" and set(chosen) - {"UserData"}:
        raise Refused("A network offering of type L2 has no services of a router")
    if shape.guest_type == "Shared" and set(chosen) & {
        "SourceNat",
        "Firewall",
        "Vpn",
        "PortForwarding",
        "StaticNat",
        "Lb",
    }:
        raise Refused("A network offering of type Shared can have Dhcp, Dns, UserData and SecurityGroup only")


def check_shape(shape: Shape) -> None:
    """What the kind of network demands."""
    if shape.guest_type == "Shared" and not shape.specify_vlan:
        raise Refused("SpecifyVlan should be true if network offering's type is Shared")
    if shape.guest_type == "Shared" and not shape.specify_ip_ranges:
        raise Refused("SpecifyIpRanges should be true for network offering of type Shared")
    if shape.guest_type == "Isolated" and shape.specify_ip_ranges:
        raise Refused("SpecifyIpRanges can only be true for network offering of type Shared")
    if shape.persistent and shape.guest_type == "Shared":
        raise Refused("Only isolated and L2 networks can be persistent")
    if shape.for_vpc and shape.guest_type != "Isolated":
        raise Refused("Only Isolated networks can be in a VPC")


def _choose(rows: dict[str, dict[str, Any]], entry: Mapping[str, str]) -> None:
    missing = {"service", "capabilitytype", "capabilityvalue"} - set(entry)
    if missing:
        raise Refused("Each entry of servicecapabilitylist needs service, capabilitytype and capabilityvalue")
    name = service(entry["service"])
    kind, value = entry["capabilitytype"].strip().lower(), entry["capabilityvalue"].strip().lower()
    if name not in rows:
        raise Refused(f"Service {name} is not enabled for the network offering, can't set its capabilities")
    allowed = CHOICES.get((name, kind))
    if allowed is None:
        raise Refused(f"Capability {entry['capabilitytype']} of service {name} can't be chosen")
    if value not in allowed:
        raise Refused(f"Capability {entry['capabilitytype']} of service {name} can be {' or '.join(allowed)}, not {value}")
    rows[name]["capabilities"][_proper.get(kind, entry["capabilitytype"])] = value


def _check_scheme(balancing: dict[str, Any] | None) -> None:
    """Who balances inside does so only there; nobody else does. A VPC's offering may name both."""
    if balancing is None or len(balancing["providers"]) > 1:
        return
    scheme = "internal" if balancing["provider"] == INTERNAL_LB else "public"
    chosen = balancing["capabilities"].get("LbSchemes")
    if chosen not in (None, scheme):
        raise Refused(f"Provider {balancing['provider']} doesn't support capability LbSchemes={chosen} of service Lb")
    if scheme == "internal":
        balancing["capabilities"]["LbSchemes"] = scheme


def plain(names: Sequence[str], who: str, **capabilities: str) -> dict[str, dict[str, Any]]:
    """Services of a default offering, all of one provider; capabilities are SourceNat's."""
    rows = {name: _row([SECURITY_GROUPS if name == "SecurityGroup" else who]) for name in names}
    if "SourceNat" in rows:
        rows["SourceNat"]["capabilities"] = dict(capabilities)
        rows.setdefault("Gateway", _row([who]))
    return rows
