"""What a host is asked to run (`MachineSpec`) and what it sees of it (`MachineSeen`).

A host knows machines by UUID only. One life of a machine is an incarnation; a host may hold two of them while one
replaces the other.
"""

from enum import StrEnum

import msgspec

from sysvm.basics.digest import digest


class Kind(StrEnum):
    """What a machine is for."""

    CONSOLE_PROXY = "consoleproxy"
    SECONDARY_STORAGE = "secstorage"
    ROUTER = "router"
    GUEST = "guest"


class Runtime(StrEnum):
    """How a machine runs."""

    CONTAINER = "container"
    VM = "vm"
    SIMULATED = "simulated"


class Traffic(StrEnum):
    """What a NIC carries."""

    CONTROL = "control"
    MANAGEMENT = "management"
    PUBLIC = "public"
    GUEST = "guest"
    PRIVATE = "private"  # a private gateway of a VPC: of NICs of its router, never of segments
    STORAGE = "storage"


class Isolation(StrEnum):
    """How a segment is kept apart from others on the wire between hosts."""

    NONE = "none"
    VLAN = "vlan"
    VXLAN = "vxlan"


class Segment(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A broadcast domain, a bridge on a host. `key` is stable ("control", "public-<id>", a network's UUID)."""

    key: str
    traffic: Traffic
    isolation: Isolation = Isolation.NONE
    tag: int | None = None  # VLAN id or VXLAN VNI
    mtu: int = 1500
    peers: tuple[str, ...] = ()  # VXLAN: underlay addresses of the other hosts that have this segment
    gateway: str | None = None  # address/prefix that the host itself holds here (control, management)
    outside: bool = False  # the guests' network of a basic zone: the host's uplink leads to its other hosts and its gateway


class Nic(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A network interface; `device` is its order (eth<device>) inside the machine."""

    device: int
    mac: str
    segment: Segment
    addresses: tuple[str, ...] = ()  # "10.1.1.5/24", "fd00::5/64"; the first of each family is the primary one
    gateway: str | None = None
    gateway6: str | None = None
    default: bool = False
    mtu: int = 1500
    rate_mbit: int = 0  # 0 = unlimited
    is_router: bool = False  # may answer DHCP and RA, forward, and hold addresses that the document names
    allowed: tuple[str, ...] = ()  # further addresses this port may use (secondary, virtual ones)
    filtered: bool = False  # held to security groups (wire/security_groups.py): closed until its host knows which


class DiskLimits(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How fast a disk may be; 0 = as fast as it is. A limit with a peak may be overstepped up to it, for so many seconds."""

    read_bytes: int = 0
    write_bytes: int = 0
    read_iops: int = 0
    write_iops: int = 0
    read_bytes_peak: int = 0
    write_bytes_peak: int = 0
    read_iops_peak: int = 0
    write_iops_peak: int = 0
    read_bytes_seconds: int = 0
    write_bytes_seconds: int = 0
    read_iops_seconds: int = 0
    write_iops_seconds: int = 0


class Disk(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A volume of a guest on its host's primary storage; `template` (SHA-256) names the image it starts from."""

    volume: str
    pool: str  # path of the primary storage pool on the host
    size: int  # bytes
    format: str = "qcow2"  # qcow2 (VM) or dir (container)
    template: str | None = None
    device: int = 0
    limits: DiskLimits | None = None  # None: as fast as it is


class Iso(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A read-only image in the machine's drive."""

    pool: str
    image: str


class ImageStoreMount(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A secondary store that the host hands into a secondary storage VM at /sysvm/store/<store>."""

    store: str
    path: str  # directory on the host


class MachineSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Everything a host needs to run one incarnation of a machine."""

    machine: str
    incarnation: int
    name: str
    kind: Kind
    runtime: Runtime
    hostname: str
    cpus: int = 1
    cpu_mhz: int = 500
    cpu_limited: bool = False  # the clock rate is a limit, and not only a weight
    memory_mb: int = 256
    template: str = ""  # version of the system VM template; empty for guests
    disks: tuple[Disk, ...] = ()
    nics: tuple[Nic, ...] = ()
    iso: Iso | None = None
    stores: tuple[ImageStoreMount, ...] = ()
    boot_from_iso: bool = False
    state_key: str = ""  # seals the state disk; given anew at each start, never stored by the host
    standby: bool = False  # said by the host: another incarnation of the machine serves
    apart: bool = False  # said by the host: it serves on another host, so that this one has a kernel of its own
    paired: bool = False  # another machine serves when this one does not: what it leaves in the kernel goes with it


def spec_digest(spec: MachineSpec) -> str:
    """The identity of a spec; the state key, and who serves, are no part of it."""
    return digest(msgspec.structs.replace(spec, state_key="", standby=False, apart=False))


class BootData(msgspec.Struct, frozen=True, kw_only=True):
    """/sysvm/boot/boot.json inside a system VM: who it is and its NICs. Holds no secret but the state key."""

    version: int = 1
    machine: str
    incarnation: int
    name: str
    kind: Kind
    runtime: Runtime
    hostname: str
    nics: tuple[Nic, ...] = ()
    state_key: str = ""
    standby: bool = False  # it begins beside another incarnation, which serves
    apart: bool = False  # on another host


class Power(StrEnum):
    """Whether an incarnation runs; UNKNOWN means that nobody could look and is never taken for ABSENT."""

    ABSENT = "absent"
    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    UNKNOWN = "unknown"


class Moving(StrEnum):
    """Where an incarnation is on its way from one host to another while it runs. It runs on one of them at most: the one that
    takes it in does not let it run before it is gone from the other one."""

    NO = ""
    IN = "in"  # this host is ready to take it in, or has it and does not let it run yet
    OUT = "out"  # on its way to another host
    SENT = "sent"  # it has left: nothing of it runs here any more
    FAILED = "failed"  # it could not leave, and stays here


class LandingPlace(msgspec.Struct, frozen=True, kw_only=True):
    """Where a host takes a machine in: what the one that sends it has to know."""

    address: str  # the door for it, TLS
    port: int
    host: str  # the name in the certificate of the host that takes it in
    mark: str  # what tells that host's interfaces and machines from others
    sockets: str  # folder of its sockets
    console_log: str
    ports: dict[str, str] = {}  # device -> interface
    iso: str = ""
    owner: str = ""  # as whom its QEMU runs there, for libvirt; empty: as libvirt's own user


class OperationState(StrEnum):
    """How far a named piece of work is."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class OperationSeen(msgspec.Struct, frozen=True, kw_only=True):
    """A named piece of work in the ledger of a host or an agent."""

    name: str
    state: OperationState
    progress: float = 0.0  # 0..1
    result: bytes | None = None  # MessagePack of the operation's own result struct
    error: str = ""


class ServiceFault(msgspec.Struct, frozen=True, kw_only=True):
    """A service that could not be made what the document says; the old state of it stays live."""

    service: str
    why: str
    remedy: str = ""


class AgentSeen(msgspec.Struct, frozen=True, kw_only=True):
    """What the agent inside a system VM last said over its channel."""

    boot: str  # nonce of the agent's process: a new one after each restart
    version: str
    live: str  # digest of the document that is live in kernel and daemons; empty before the first
    faults: tuple[ServiceFault, ...] = ()
    operations: tuple[OperationSeen, ...] = ()
    standby: bool = False  # another incarnation is the holder (handover.py)
    ready: str = ""  # standing by: digest of the document that it has checked and would make live
    carries: bool = False  # standing by, it still has connections that nobody else can carry
    redundancy: str = ""  # of a pair's router: PRIMARY, BACKUP or FAULT
    notes: tuple[str, ...] = ()  # how its services are done where there is more than one way: "ESP by the kernel"


class MachineSeen(msgspec.Struct, frozen=True, kw_only=True):
    """One incarnation as its host sees it now."""

    machine: str
    incarnation: int
    power: Power
    agent: AgentSeen | None = None  # None: no agent is connected
    fence: int = 0  # highest fence that the host has seen for this incarnation
    operations: tuple[OperationSeen, ...] = ()  # of the host, about this machine
    spec: str = ""  # digest of the spec it was created from
    why: str = ""  # for UNKNOWN and failed starts: what stands in the way
    moving: Moving = Moving.NO
    landing: LandingPlace | None = None  # IN: where
    returned: str = ""  # it was made the holder and did not serve: why the service was handed back
