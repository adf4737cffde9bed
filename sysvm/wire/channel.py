"""Between the agent in a system VM and its host: a unix socket or a virtio-serial port, framed (`frames.py`).

The agent sends `AgentHello` as its first notice, and again whenever it hears `Greet`. The host forwards what the server
asks (`link.ToAgent`) and what the agent says (`link.FromAgent`), and answers nothing itself.

Calls host -> agent: Apply, Report, RunTask, ForgetTask, PowerOff, Greet; the host's own (handover.py): StandBy, TakeOver,
TellConnections, TakeConnections.
Calls agent -> host (-> server): RedeemTicket, ResumeSession, ReachServer.
Notices agent -> host (-> server): AgentHello, AgentReport, LoadReport, TaskReport, DriftReport, MembersReport, StoresReport,
TrafficReport, HealthReport, TunnelsReport, RedundancyReport.
"""

import msgspec

from sysvm.wire.balancing import MemberSeen
from sysvm.wire.collecting import CollectFiles, KeepArchive
from sysvm.wire.documents import SystemVmDocument
from sysvm.wire.explaining import ExplainPacket, ShowRules
from sysvm.wire.handover import StandBy, TakeConnections, TakeOver, TellConnections
from sysvm.wire.health import CheckHealth
from sysvm.wire.health import HealthReport as HealthReport
from sysvm.wire.machines import Kind, OperationSeen, ServiceFault
from sysvm.wire.redundancy import RedundancyReport as RedundancyReport
from sysvm.wire.vpn import TunnelSeen

PROTOCOL = 1


# ---------------------------------------------------------------- host -> agent
class Greet(msgspec.Struct, frozen=True, tag="greet"):
    """Say hello again (the host agent was restarted)."""


class Ping(msgspec.Struct, frozen=True, tag="ping"):
    """Are you there? Any answer is one, also that of an agent from before, which does not know the question."""


class Apply(msgspec.Struct, frozen=True, tag="apply"):
    """Make this document true; answered by an AgentReport."""

    document: SystemVmDocument


class Report(msgspec.Struct, frozen=True, tag="report"):
    """Read the live state back and say it; answered by an AgentReport."""


class PowerOff(msgspec.Struct, frozen=True, tag="power-off"):
    """Stop all services in order and end the machine; answered before it is done."""


class Download(msgspec.Struct, frozen=True, kw_only=True, tag="download"):
    """Fetch a URL into the store as `image`; result: Downloaded."""

    store: str
    image: str  # UUID of the template, ISO or volume
    url: str
    format: str  # QCOW2, RAW, TAR, ISO, OVA, VHD, VMDK
    checksum: str = ""  # "{SHA-256}hex", plain MD5 hex, or empty
    max_bytes: int = 0  # 0: the document's limit
    peer: str = ""  # address of the cloud's own secondary storage VM that `url` leads to: fetched from, also where it is private


class TakeUpload(msgspec.Struct, frozen=True, kw_only=True, tag="take-upload"):
    """Wait for a user to upload `image` into the store, until `expires`; result: Downloaded."""

    store: str
    image: str
    format: str
    expires: float
    checksum: str = ""  # as in Download


class DeleteImage(msgspec.Struct, frozen=True, kw_only=True, tag="delete-image"):
    """Remove an image from the store; result: nothing."""

    store: str
    image: str


class CopyImage(msgspec.Struct, frozen=True, kw_only=True, tag="copy-image"):
    """Bring an image of another store of this machine into `store`; result: Downloaded. The other one keeps it."""

    store: str
    source: str  # the store that has it
    image: str
    sha256: str  # of its bytes, as the server knows them


class Scrub(msgspec.Struct, frozen=True, kw_only=True, tag="scrub"):
    """Read the store through and compare with what is known; result: Scrubbed."""

    store: str
    mend: bool  # damaged objects are set aside and leftovers are swept; else they are only told


class Diagnose(msgspec.Struct, frozen=True, kw_only=True, tag="diagnose"):
    """ping, traceroute or arping, bounded; result: Diagnosed."""

    kind: str
    address: str
    params: str = ""


class CheckSelf(msgspec.Struct, frozen=True, tag="check-self"):
    """Run the machine's own checks (ssvm-check and the like); result: Diagnosed."""


_Images = Download | TakeUpload | CopyImage | DeleteImage | Scrub | KeepArchive
_Questions = Diagnose | CheckSelf | CheckHealth | CollectFiles | ExplainPacket | ShowRules
TaskBody = _Images | _Questions


class RunTask(msgspec.Struct, frozen=True, kw_only=True, tag="run-task"):
    """Start (or find running or done) the task `name`; answered at once by its OperationSeen."""

    name: str
    body: TaskBody


class ForgetTask(msgspec.Struct, frozen=True, kw_only=True, tag="forget-task"):
    """Stop the task if it runs, and drop it from the ledger; its partial files go too."""

    name: str


# ---------------------------------------------------------------- results
class Downloaded(msgspec.Struct, frozen=True, kw_only=True):
    """What a download brought: `sha256` names the bytes in the store."""

    sha256: str
    size: int  # bytes in the store
    virtual_size: int
    format: str
    saved: int = 0  # bytes of it that were here already and did not have to come


class Scrubbed(msgspec.Struct, frozen=True, kw_only=True):
    """What reading a store through found."""

    objects: int
    bytes: int
    damaged: tuple[str, ...] = ()  # images whose bytes are not what they were
    swept: int = 0  # leftovers that went


class Diagnosed(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a diagnostic command."""

    exit_code: int
    stdout: str
    stderr: str


class ServiceSeen(msgspec.Struct, frozen=True, kw_only=True):
    """A daemon of a system VM."""

    name: str
    running: bool
    restarts: int = 0
    note: str = ""


class Counter(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes through one public address of a router since its ruleset was first made."""

    address: str
    sent: int
    received: int


# ---------------------------------------------------------------- agent -> host -> server
class AgentHello(msgspec.Struct, frozen=True, kw_only=True, tag="hello"):
    """The agent's first words."""

    protocol: int
    machine: str
    incarnation: int
    kind: Kind
    version: str
    boot: str
    live: str
    standby: bool = False
    ready: str = ""
    redundancy: str = ""


class AgentReport(msgspec.Struct, frozen=True, kw_only=True, tag="report"):
    """The live state, read back from kernel and daemons."""

    boot: str
    live: str
    faults: tuple[ServiceFault, ...] = ()
    services: tuple[ServiceSeen, ...] = ()
    operations: tuple[OperationSeen, ...] = ()
    counters: tuple[Counter, ...] = ()
    standby: bool = False  # another incarnation is the holder
    ready: str = ""  # digest of the document that it would make live; empty while none has passed the checks
    carries: bool = False  # standing by, it still has connections that nobody else can carry
    redundancy: str = ""  # of a pair's router: whether it serves (redundancy.RedundantState)

    @property
    def notes(self) -> tuple[str, ...]:
        """What services say of themselves."""
        return tuple(each.note for each in self.services if each.note)


class ConsoleSession(msgspec.Struct, frozen=True, kw_only=True):
    """A session that a console proxy serves now."""

    session: str
    guest: str
    client: str
    since: float
    last_used: float
    round_trip_ms: float | None = None  # between page and proxy, as the page measured it last


class LoadReport(msgspec.Struct, frozen=True, kw_only=True, tag="load"):
    """What a console proxy carries."""

    sessions: tuple[ConsoleSession, ...] = ()
    removed: tuple[str, ...] = ()


class StoreSeen(msgspec.Struct, frozen=True, kw_only=True):
    """An image store as a secondary storage VM sees it."""

    store: str
    total: int = 0  # bytes; 0: it could not be asked
    used: int = 0
    why: str = ""  # what is wrong; empty: nothing
    remedy: str = ""


class StoresReport(msgspec.Struct, frozen=True, kw_only=True, tag="stores"):
    """All stores of a secondary storage VM."""

    stores: tuple[StoreSeen, ...]


class TaskReport(msgspec.Struct, frozen=True, kw_only=True, tag="task"):
    """A task has moved on."""

    task: OperationSeen


class DriftReport(msgspec.Struct, frozen=True, kw_only=True, tag="drift"):
    """Something was not as the document says, and was mended (or not)."""

    service: str
    difference: str
    mended: bool


class MembersReport(msgspec.Struct, frozen=True, tag="members"):
    """Who of the load balancer's members answers: all of them, whenever one has changed and every few minutes."""

    members: tuple[MemberSeen, ...] = ()


class TunnelsReport(msgspec.Struct, frozen=True, tag="tunnels"):
    """How tunnels to other sites are: all of them, whenever one has changed and every few minutes."""

    tunnels: tuple[TunnelSeen, ...] = ()


class RedeemTicket(msgspec.Struct, frozen=True, kw_only=True, tag="redeem-ticket"):
    """A browser has shown this ticket; answered by a ConsoleTarget or a refusal. A ticket works once."""

    ticket: str
    client: str  # address of the browser


class ResumeSession(msgspec.Struct, frozen=True, kw_only=True, tag="resume-session"):
    """A page comes back with the secret of its session, perhaps through another proxy than before."""

    secret: str
    client: str  # address of the browser


class ConsoleTarget(msgspec.Struct, frozen=True, kw_only=True):
    """Where the screen is. `grant` is shown to the relay; `resume` is the secret that lets the page attach again."""

    session: str
    guest: str
    name: str
    kind: str  # vnc | text
    relay_host: str
    relay_port: int
    grant: str
    resume: str = ""
    view_only: bool = False


class ReachServer(msgspec.Struct, frozen=True, tag="reach-server"):
    """Is there a management server behind the host? Answered by a ServerReached."""


class ServerReached(msgspec.Struct, frozen=True, kw_only=True):
    """There is one."""

    now: float  # by its clock


class TrafficReport(msgspec.Struct, frozen=True, kw_only=True, tag="traffic"):
    """A router's counters. They only grow while `life` is the same: a network stack that was made anew begins at nothing."""

    life: str
    counters: tuple[Counter, ...]


_HandingOver = StandBy | TakeOver | TellConnections | TakeConnections
AgentCallBody = Greet | Ping | Apply | Report | PowerOff | RunTask | ForgetTask | _HandingOver
_Seen = DriftReport | MembersReport | TrafficReport | HealthReport | TunnelsReport | StoresReport | RedundancyReport
AgentNoticeBody = AgentHello | AgentReport | LoadReport | TaskReport | _Seen
AgentAskBody = RedeemTicket | ResumeSession | ReachServer
