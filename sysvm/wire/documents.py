"""Documents: the complete configuration that an agent or a host must make true.

The identity of a document is `basics.digest.digest(document)`. Fields at their defaults are no part of it and are not sent
(`omit_defaults`): an older or newer release at the other end, which knows a field less or more, comes to the same identity as
long as nobody uses that field. So defaults must never change. `renderer` gets another number from a release that renders the
same document into other files, so that agents do their work again.

A section that is None (or an empty list) means: this service is not run, and nothing of it stays.
Addresses are text ("10.1.1.5", "10.1.1.0/24"); ports are inclusive ranges.
"""

from enum import StrEnum

import msgspec

from sysvm.wire.balancing import Balancing
from sysvm.wire.balancing import Certificate as Certificate
from sysvm.wire.health import Health
from sysvm.wire.machines import Segment
from sysvm.wire.nfs import NfsShare
from sysvm.wire.redundancy import Redundancy
from sysvm.wire.vpc import Vpc
from sysvm.wire.vpn import RemoteAccess, Tunnel
from sysvm.wire.wireguard import WireGuard


class Protocol(StrEnum):
    """What a rule matches."""

    TCP = "tcp"
    UDP = "udp"
    ICMP = "icmp"
    ALL = "all"


class Ports(msgspec.Struct, frozen=True, omit_defaults=True):
    """An inclusive range of ports."""

    first: int
    last: int


class Interface(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An interface of a router and what it must carry."""

    device: str  # eth0
    mac: str
    role: str  # guest | control | public | private (gateway of a VPC)
    addresses: tuple[str, ...] = ()  # with prefix
    gateway: str | None = None
    gateway6: str | None = None
    mtu: int = 1500
    rate_mbit: int = 0


class Reservation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A DHCP reservation: this MAC has this address and name for ever."""

    mac: str
    address: str
    hostname: str
    default: bool = True  # False: no gateway and no DNS over this NIC
    address6: str = ""


class Dhcp6(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """IPv6 of a guest network: advertisements that send guests to DHCPv6, and its answers. The gateway advertises itself.

    Where the router is the gateway, it advertises itself, and guests make their addresses of the prefix and their MACs.
    """

    cidr: str  # its prefix has 64 bits
    dns: tuple[str, ...]
    is_gateway: bool = False


class DhcpNetwork(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A guest network on which the router answers DHCP."""

    device: str
    cidr: str
    gateway: str
    dns: tuple[str, ...]
    domain: str
    mtu: int = 1500
    reservations: tuple[Reservation, ...] = ()
    six: Dhcp6 | None = None


class DnsRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A name of the network's own zone."""

    name: str
    addresses: tuple[str, ...]


class Dns(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Name service for guests; forwards what is not its own."""

    domain: str
    listen: tuple[str, ...]  # addresses it answers on
    allow: tuple[str, ...]  # CIDRs that may ask
    forwarders: tuple[str, ...] = ()
    records: tuple[DnsRecord, ...] = ()


class SourceNat(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Guests of `source` leave through `device` as `public`."""

    device: str
    public: str
    source: str


class StaticNat(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A public address that belongs to one guest address, both ways."""

    rule: str
    public: str
    private: str


class PortForward(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Ports of a public address that lead to a guest; the private range is as long as the public one."""

    rule: str
    public: str
    protocol: Protocol
    ports: Ports
    private: str
    private_ports: Ports


class FirewallRule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Traffic to a public address that may pass; everything else is dropped."""

    rule: str
    public: str
    protocol: Protocol
    sources: tuple[str, ...]
    ports: Ports | None = None
    icmp_type: int | None = None  # -1 and None: any
    icmp_code: int | None = None


class EgressRule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Traffic of guests to outside; allowed when the policy denies, denied when the policy allows."""

    rule: str
    device: str
    protocol: Protocol
    sources: tuple[str, ...]
    destinations: tuple[str, ...] = ()
    ports: Ports | None = None
    icmp_type: int | None = None
    icmp_code: int | None = None


class Egress(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The policy for traffic that guests behind `device` start towards outside."""

    device: str
    source: str
    allow_by_default: bool
    rules: tuple[EgressRule, ...] = ()


class Rule6(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Traffic over IPv6; without sources or destinations from or to anywhere."""

    rule: str
    protocol: Protocol
    sources: tuple[str, ...] = ()
    destinations: tuple[str, ...] = ()
    ports: Ports | None = None
    icmp_type: int | None = None  # of ICMPv6; -1 and None: any
    icmp_code: int | None = None


class Routed6(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A guest network whose IPv6 is routed, not rewritten. From outside comes what an ingress rule lets in; what guests begin
    follows the policy, and egress rules are its exceptions."""

    device: str
    cidr: str
    egress_allow: bool
    ingress: tuple[Rule6, ...] = ()
    egress: tuple[Rule6, ...] = ()


class GuestData(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the metadata service answers to the guest that asks from `address`."""

    address: str
    userdata: bytes = b""
    metadata: dict[str, str] = {}
    password: str | None = None  # served once by the password server


class Metadata(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """User data, metadata and password service."""

    listen: tuple[str, ...]
    guests: tuple[GuestData, ...] = ()


class RouterDocument(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="router"):
    """A virtual router, whole."""

    machine: str
    name: str
    renderer: int = 0
    interfaces: tuple[Interface, ...] = ()
    dhcp: tuple[DhcpNetwork, ...] = ()
    dns: Dns | None = None
    source_nat: tuple[SourceNat, ...] = ()
    static_nat: tuple[StaticNat, ...] = ()
    port_forwards: tuple[PortForward, ...] = ()
    firewall: tuple[FirewallRule, ...] = ()
    egress: tuple[Egress, ...] = ()
    metadata: Metadata | None = None
    balancing: Balancing | None = None
    vpn: RemoteAccess | None = None
    tunnels: tuple[Tunnel, ...] = ()
    vpc: Vpc | None = None  # None: it serves one network, with a firewall
    health: Health | None = None  # None: no checks
    stats_interval_s: int = 0  # between two reports of the traffic counters; 0: none
    wireguard: WireGuard | None = None
    redundancy: Redundancy | None = None  # None: it is no one of a pair
    routed6: tuple[Routed6, ...] = ()


class ConsoleProxyDocument(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="consoleproxy"):
    """A console proxy, whole. Without a certificate it speaks plain HTTP."""

    machine: str
    name: str
    renderer: int = 0
    listen: str = "0.0.0.0"
    page_port: int = 80
    websocket_port: int = 8080
    command_port: int = 8001
    certificate: Certificate | None = None
    relay_ca: str = ""  # PEM; relays of hosts show certificates of this CA
    relay_certificate: Certificate | None = None  # what this proxy shows to relays
    max_sessions: int = 50
    idle_s: int = 180
    load_interval_ms: int = 5000
    origins: tuple[str, ...] = ()  # allowed Origin hosts besides its own: pages of the zone's other proxies
    others: tuple[str, ...] = ()  # host:port of the proxies that a page may go on with
    draining: bool = False


class Login(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who may log in to a system VM as root."""

    public_key: str = ""  # the cloud's, by ssh on the control NIC; empty: no ssh
    password: str = ""  # on the text console; empty: nobody


class Bucket(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A bucket of an S3 server, and who may use it."""

    url: str  # https://s3.example.org:9000
    name: str
    access_key: str
    secret_key: str
    region: str = "us-east-1"
    ca: str = ""  # PEM: who vouches for the server, instead of the public authorities


class Store(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An image store that a secondary storage VM serves; it is mounted at `path` inside the machine: by its host, or by itself
    where it is a share."""

    store: str
    path: str
    read_only: bool = False
    nfs: NfsShare | None = None
    bucket: Bucket | None = None  # what is kept is kept there, and `path` is where it waits until it is whole


class SecStorageDocument(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="secstorage"):
    """A secondary storage VM, whole."""

    machine: str
    name: str
    renderer: int = 0
    stores: tuple[Store, ...] = ()
    management_address: str = ""
    public_address: str = ""
    serve_port: int = 8443  # TLS, management NIC: hosts fetch images here with tickets
    certificate: Certificate | None = None  # of the built-in CA, for serve_port
    public_port: int = 80  # public NIC: users download and upload with signed addresses
    public_tls_port: int = 443  # the same over TLS, with `public_certificate`
    public_certificate: Certificate | None = None
    ca: str = ""
    ticket_key: str = ""  # secret of the cloud that fetch tickets are authenticated with (HMAC-SHA256)
    allowed_internal: tuple[str, ...] = ()  # CIDRs excepted from the ban on private addresses
    own_networks: tuple[str, ...] = ()  # never fetched from, whatever `allowed_internal` says (control network)
    proxy: str | None = None
    max_bytes: int = 50 * 1024**3
    dns: tuple[str, ...] = ()
    login: Login | None = None


SystemVmDocument = RouterDocument | ConsoleProxyDocument | SecStorageDocument


class HostDocument(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A host, whole: which segments it carries, and what its relay trusts."""

    host: str
    renderer: int = 0
    cloud: str
    segments: tuple[Segment, ...] = ()
    management_address: str = ""  # address/prefix of the host on the management segment
    relay_port: int = 5999
    grant_key: str = ""  # base64 Ed25519 public key of the server; signs console grants and fetch tickets
    pools: tuple[str, ...] = ()  # primary storage directories
