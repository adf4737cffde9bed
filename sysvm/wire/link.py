"""Between a host agent and a management server: one TLS 1.3 link per host, dialled by the host, framed.

The host sends `HostHello` as its first call; the server answers `Welcome` or a fault. Then calls go both ways.

Calls server -> host:
  ApplyHost       -> HostReport        make the host's document true
  ApplySecurityGroups -> HostReport    make the document of its security groups true
  Look            -> Looked            one machine, all incarnations that the host has of it
  LookAll         -> LookedAll         everything of this cloud
  Do              -> Done              one idempotent act about one machine, fenced
  RunHostTask     -> OperationSeen     start or find a long piece of work (fetch an image, make a volume)
  ForgetHostTask  -> Nothing
  RenewNow        -> Nothing           ask for a new certificate (Renew) over this link, now
  ToAgent         -> whatever the agent answers (channel.py)
Notices host -> server: MachineChanged, InventoryDigest, FromAgent(notice), HostTaskReport.
Calls host -> server: HostHello, Renew, Beat, FromAgent(call).
"""

import msgspec

from sysvm.wire.channel import AgentAskBody, AgentCallBody, AgentNoticeBody
from sysvm.wire.documents import HostDocument
from sysvm.wire.machines import LandingPlace, MachineSeen, MachineSpec, OperationSeen
from sysvm.wire.security_groups import SecurityGroupsDocument

PROTOCOL = 1


class Nothing(msgspec.Struct, frozen=True, tag="nothing"):
    """Done, and there is nothing to say about it."""


# ---------------------------------------------------------------- host -> server
class HostFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a host is and what its kernel can do."""

    name: str
    cpus: int
    cpu_mhz: int
    memory_bytes: int
    kernel: str
    hypervisors: tuple[str, ...] = ()  # "KVM", "LXC", "Simulator"
    kvm: bool = False  # proved by booting a tiny kernel
    kvm_why: str = ""  # why not
    features: tuple[str, ...] = ()  # esp, wireguard, flowtable, vlan, nfs
    templates: tuple[str, ...] = ()  # versions of the system VM template at hand, those that came with the release
    registered: tuple[str, ...] = ()  # versions that came as images which somebody had registered
    underlay: str = ""  # address for VXLAN and relay between hosts
    disk_bytes: int = 0
    disk_used: int = 0


class HostHello(msgspec.Struct, frozen=True, kw_only=True, tag="host-hello"):
    """First words on a link."""

    protocol: int
    cloud: str
    host: str
    boot: str  # kernel boot id: a new one proves that nothing of before runs
    version: str
    epoch: int  # highest that the host has obeyed
    facts: HostFacts


class Renew(msgspec.Struct, frozen=True, kw_only=True, tag="renew"):
    """Sign this certificate request (PEM) for the same host; answered by Renewed."""

    csr: str


class Beat(msgspec.Struct, frozen=True, tag="beat"):
    """Is anybody there? Answered by Nothing. The kernel of a server that stands still keeps its links open for ever."""


class Join(msgspec.Struct, frozen=True, kw_only=True, tag="join"):
    """First contact: a one-time token buys a certificate; answered by Renewed."""

    token: str
    host: str
    csr: str
    facts: HostFacts


class FromAgent(msgspec.Struct, frozen=True, kw_only=True, tag="from-agent"):
    """What the agent of a system VM says or asks."""

    machine: str
    incarnation: int
    ask: AgentAskBody | None = None
    notice: AgentNoticeBody | None = None


class MachineChanged(msgspec.Struct, frozen=True, kw_only=True, tag="machine-changed"):
    """Something about a machine is not as it was at the last look."""

    machine: str


class InventoryDigest(msgspec.Struct, frozen=True, kw_only=True, tag="inventory"):
    """Digest over LookedAll, every 10 s: a server that knows another one looks at everything."""

    digest: str


class HostTaskReport(msgspec.Struct, frozen=True, kw_only=True, tag="host-task"):
    """A host task has moved on."""

    task: OperationSeen


# ---------------------------------------------------------------- server -> host
class Welcome(msgspec.Struct, frozen=True, kw_only=True, tag="welcome"):
    """The link stands."""

    protocol: int
    session: str
    epoch: int
    cloud: str


class Renewed(msgspec.Struct, frozen=True, kw_only=True, tag="renewed"):
    """A certificate chain (PEM, leaf first) and the CA to trust."""

    host: str
    cloud: str
    chain: str
    ca: str


class ApplyHost(msgspec.Struct, frozen=True, kw_only=True, tag="apply-host"):
    """Make the host's document true."""

    document: HostDocument


class ApplySecurityGroups(msgspec.Struct, frozen=True, kw_only=True, tag="apply-security-groups"):
    """Hold the ports of the host to their groups; `HostReport.live` is of what was read back from the kernel."""

    document: SecurityGroupsDocument


class Look(msgspec.Struct, frozen=True, kw_only=True, tag="look"):
    """What is there of this machine?"""

    machine: str


class LookAll(msgspec.Struct, frozen=True, tag="look-all"):
    """What is there of this cloud?"""


class EnsureCreated(msgspec.Struct, frozen=True, kw_only=True, tag="ensure-created"):
    """Root, disks, NICs and boot data of this incarnation exist; it does not run yet. Servers of this release say
    EnsureRunning at once."""

    spec: MachineSpec


class EnsureRunning(msgspec.Struct, frozen=True, kw_only=True, tag="ensure-running"):
    """It is made if it is not there, and runs; NICs and boot data are those of `spec`."""

    spec: MachineSpec


class EnsureStopped(msgspec.Struct, frozen=True, kw_only=True, tag="ensure-stopped"):
    """It does not run; it has `grace_s` to stop by itself (0: killed)."""

    incarnation: int
    grace_s: float = 10.0


class EnsureRemoved(msgspec.Struct, frozen=True, kw_only=True, tag="ensure-removed"):
    """Nothing of this incarnation is left but volumes; `kept_network` spares what the next incarnation joins."""

    incarnation: int
    kept_network: bool = False
    withdrawn: bool = False  # it was to be taken in, and was not: volumes that were made for it go as well


class EnsureNics(msgspec.Struct, frozen=True, kw_only=True, tag="ensure-nics"):
    """Ports, disks and the image in the drive of the running incarnation are those of `spec` (hot)."""

    spec: MachineSpec


class EnsureHandover(msgspec.Struct, frozen=True, kw_only=True, tag="ensure-handover"):
    """This incarnation, which runs and stands by, serves, and no other of its machine does. It completes or returns by
    itself, also when no server is left; a return is told as `MachineSeen.returned`."""

    spec: MachineSpec


class EnsureLanding(msgspec.Struct, frozen=True, kw_only=True, tag="ensure-landing"):
    """Everything is there to take the incarnation in from another host while it runs: ports, empty volumes, a door that opens
    for that host only. Told as `MachineSeen.landing`. EnsureRunning ends it: it runs here from then on."""

    spec: MachineSpec
    attempt: str  # an attempt of its own each time
    sender: str  # the name in the other host's certificate
    copied: tuple[str, ...] = ()  # volumes that come with it; the others are on storage that both hosts have


class EnsureSent(msgspec.Struct, frozen=True, kw_only=True, tag="ensure-sent"):
    """The running incarnation begins to leave for another host, once for each attempt; a look tells how it goes. EnsureRunning
    calls it back. A host does not start again what it has sent."""

    spec: MachineSpec
    there: MachineSpec  # what it is on the other host
    place: LandingPlace
    attempt: str
    copied: tuple[str, ...] = ()


ActBody = EnsureCreated | EnsureRunning | EnsureStopped | EnsureRemoved | EnsureNics | EnsureHandover | EnsureLanding | EnsureSent


class Do(msgspec.Struct, frozen=True, kw_only=True, tag="do"):
    """One act about one incarnation. A fence lower than the highest seen for it is refused as STALE."""

    machine: str
    fence: int
    act: ActBody


class FetchImage(msgspec.Struct, frozen=True, kw_only=True, tag="fetch-image"):
    """Take an image from a secondary storage VM into a primary pool, verified; result: Nothing."""

    pool: str
    sha256: str
    size: int
    format: str
    address: str  # of the secondary storage VM on the management network
    port: int
    store: str
    image: str
    ticket: str  # signed by the server
    ca: str


class RemoveImage(msgspec.Struct, frozen=True, kw_only=True, tag="remove-image"):
    """Drop an unused image from a pool; result: Nothing."""

    pool: str
    sha256: str
    format: str


class InstallTemplate(msgspec.Struct, frozen=True, kw_only=True, tag="install-template"):
    """The system VM template that is in an image of a pool is at hand; result: TemplateInstalled."""

    pool: str
    sha256: str
    format: str


class TemplateInstalled(msgspec.Struct, frozen=True, kw_only=True):
    """Which template it is."""

    version: str


class EnsureVolume(msgspec.Struct, frozen=True, kw_only=True, tag="ensure-volume"):
    """A volume of at least `size` bytes exists, made from `template` if it did not; result: VolumeMade."""

    pool: str
    volume: str
    size: int
    format: str
    template: str | None = None


class RemoveVolume(msgspec.Struct, frozen=True, kw_only=True, tag="remove-volume"):
    """The volume is gone; result: Nothing."""

    pool: str
    volume: str
    format: str


class VolumeMade(msgspec.Struct, frozen=True, kw_only=True):
    """The volume as it is now."""

    size: int  # bytes that its guest sees
    used: int = 0  # bytes on the pool


class RestoreVolume(msgspec.Struct, frozen=True, kw_only=True, tag="restore-volume"):
    """A volume holds what a snapshot says; result: VolumeMade. `chain` has the whole one first, then what changed since."""

    pool: str
    volume: str
    size: int  # it is at least so large
    chain: tuple[FetchImage, ...]
    replace: bool = False  # a volume that is there is given up; else it is left as it is


class TakeSnapshot(msgspec.Struct, frozen=True, kw_only=True, tag="take-snapshot"):
    """What a volume holds now, in a file beside it; result: SnapshotTaken. Only what has changed since `parent`, if the
    volume knows that."""

    pool: str
    volume: str
    snapshot: str
    parent: str = ""
    live: bool = False  # of a running guest: waits until it runs, and does not hold the volume meanwhile
    mark: bool = True  # the volume notes from now on what changes, for the next one
    quiesce: bool = False  # its file systems are asked to be still, where a guest agent hears it


class FlattenSnapshot(msgspec.Struct, frozen=True, kw_only=True, tag="flatten-snapshot"):
    """A chain as one whole file, staged as `snapshot`; result: SnapshotTaken."""

    pool: str
    snapshot: str
    chain: tuple[FetchImage, ...]


class SendSnapshot(msgspec.Struct, frozen=True, kw_only=True, tag="send-snapshot"):
    """Give a staged snapshot to a secondary storage VM, as `image`; result: Nothing, when it is kept there whole."""

    pool: str
    snapshot: str
    sha256: str
    size: int
    address: str
    port: int
    store: str
    image: str
    ticket: str  # signed by the server
    ca: str


class DropSnapshot(msgspec.Struct, frozen=True, kw_only=True, tag="drop-snapshot"):
    """No staged file of the snapshot is left; result: Nothing."""

    pool: str
    volume: str
    snapshot: str
    kept: bool  # a store has it: the volume goes on noting what has changed since


class SnapshotTaken(msgspec.Struct, frozen=True, kw_only=True):
    """A staged snapshot, whole."""

    sha256: str
    size: int  # bytes of the file
    virtual_size: int
    parent: str = ""  # what it needs to be complete; empty: nothing


class VolumeAt(msgspec.Struct, frozen=True, kw_only=True):
    """A volume of a guest."""

    pool: str
    volume: str


class KeepGuest(msgspec.Struct, frozen=True, kw_only=True, tag="keep-guest"):
    """All volumes of a guest remember what they hold at one instant; with `memory` what its RAM holds, too. Result: nothing."""

    volumes: tuple[VolumeAt, ...]  # the root first
    snapshot: str
    live: bool = False  # the guest runs
    memory: bool = False
    quiesce: bool = False


class RevertGuest(msgspec.Struct, frozen=True, kw_only=True, tag="revert-guest"):
    """They hold that again; with `memory` the running guest goes on from there. Result: nothing."""

    volumes: tuple[VolumeAt, ...]
    snapshot: str
    memory: bool = False


class ForgetGuest(msgspec.Struct, frozen=True, kw_only=True, tag="forget-guest"):
    """They remember it no longer; result: nothing."""

    volumes: tuple[VolumeAt, ...]
    snapshot: str


HostTaskBody = (
    FetchImage
    | RemoveImage
    | InstallTemplate
    | EnsureVolume
    | RemoveVolume
    | RestoreVolume
    | TakeSnapshot
    | FlattenSnapshot
    | SendSnapshot
    | DropSnapshot
    | KeepGuest
    | RevertGuest
    | ForgetGuest
)


class RunHostTask(msgspec.Struct, frozen=True, kw_only=True, tag="run-host-task"):
    """Start (or find running or done) the task `name`; answered at once by its OperationSeen."""

    name: str
    fence: int
    body: HostTaskBody


class ForgetHostTask(msgspec.Struct, frozen=True, kw_only=True, tag="forget-host-task"):
    """Stop the task if it runs, and drop it from the ledger."""

    name: str


class RenewNow(msgspec.Struct, frozen=True, tag="renew-now"):
    """Ask for a new certificate over this link; answered when it is kept. It is shown at the next link."""


class ToAgent(msgspec.Struct, frozen=True, kw_only=True, tag="to-agent"):
    """For the agent of this incarnation; NOT_YET when it is not connected."""

    machine: str
    incarnation: int
    fence: int
    body: AgentCallBody


# ---------------------------------------------------------------- answers
class HostReport(msgspec.Struct, frozen=True, kw_only=True, tag="host-report"):
    """The host's live document."""

    live: str
    faults: tuple[str, ...] = ()


class Looked(msgspec.Struct, frozen=True, kw_only=True, tag="looked"):
    """Every incarnation of a machine that the host has; empty means proved absent."""

    incarnations: tuple[MachineSeen, ...] = ()


class LookedAll(msgspec.Struct, frozen=True, kw_only=True, tag="looked-all"):
    """All machines of this cloud on this host."""

    machines: tuple[MachineSeen, ...] = ()
    images: tuple[str, ...] = ()  # "<pool>/<sha256>"
    volumes: tuple[str, ...] = ()


class Done(msgspec.Struct, frozen=True, kw_only=True, tag="done"):
    """The act has been done; what is there now."""

    seen: Looked


HostCallBody = ApplyHost | ApplySecurityGroups | Look | LookAll | Do | RunHostTask | ForgetHostTask | RenewNow | ToAgent
HostNoticeBody = FromAgent | MachineChanged | InventoryDigest | HostTaskReport
HostAskBody = HostHello | Join | Renew | Beat | FromAgent
