"""The agents inside simulated system VMs: they say hello a while after the start, and are always successful unless told
otherwise.

Like a real one, an agent keeps its last document and its tasks on the state disk of its incarnation: after a restart what
was live is live.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from sysvm.basics.digest import digest
from sysvm.basics.errors import NotYet, Refused
from sysvm.hosts.simulated.driver import Life, SimulatedDriver
from sysvm.hosts.simulated.pairs import TAKE_OVER_S, Member
from sysvm.hosts.simulated.world import World
from sysvm.wire import channel, collecting, explaining, health, link
from sysvm.wire.documents import RouterDocument
from sysvm.wire.handover import Connections, StandBy, TakeConnections, Taken, TakeOver, TellConnections, Which
from sysvm.wire.machines import AgentSeen, Kind, MachineSpec, OperationSeen, OperationState, ServiceFault, Traffic
from sysvm.wire.redundancy import RedundancyReport, RedundantState
from sysvm.wire.vpn import Tunnel, TunnelSeen, TunnelState

BOOT_S = 0.5
TASK_S = 2.0
VERSION = "simulated"
Place = tuple[str, int]
Outcome = Callable[[channel.TaskBody], msgspec.Struct]


@dataclass(slots=True)
class Inside:
    """What is inside one incarnation: the process (boot, connected) and the state disk (live, tasks)."""

    boot: int = 0
    connected: bool = False
    live: str = ""
    ready: str = ""  # standing by: what it has checked
    told: bool | None = None  # to serve or to stand by, as its host said last; None: nothing yet
    held: bool = False  # it serves
    carries: bool = False  # connections that nobody else can, also when it has come to stand by
    faults: tuple[ServiceFault, ...] = ()
    pair: str = ""  # the network on which it is one of two
    tasks: dict[str, OperationSeen] = field(default_factory=dict)
    connections: set[bytes] = field(default_factory=set)  # in a kernel of its own; gone with it
    told_connections: set[bytes] = field(default_factory=set)
    loads: channel.LoadReport = field(default_factory=channel.LoadReport)


def usual_outcome(body: channel.TaskBody) -> msgspec.Struct:
    """What a task brings when nothing is wrong."""
    match body:
        case channel.Download():
            size = 1 << 20
            promised = body.checksum.removeprefix("{SHA-256}") if body.checksum.startswith("{SHA-256}") else ""
            sha256 = promised or digest(body.url)
            return channel.Downloaded(sha256=sha256, size=size, virtual_size=10 * size, format=body.format)
        case channel.TakeUpload():
            size = 1 << 20
            return channel.Downloaded(sha256=digest(body.image), size=size, virtual_size=size, format=body.format)
        case channel.CopyImage():
            size = 1 << 20
            return channel.Downloaded(sha256=body.sha256, size=size, virtual_size=10 * size, format="QCOW2")
        case collecting.CollectFiles():
            return collecting.Collected(archive=b"PK", files=body.files)
        case collecting.KeepArchive():
            size = len(body.archive)
            return channel.Downloaded(sha256=digest(body.image), size=size, virtual_size=size, format="ZIP")
        case health.CheckHealth():
            return health.HealthReport(checks=())
        case channel.Scrub():
            return channel.Scrubbed(objects=0, bytes=0)
        case channel.DeleteImage():
            return link.Nothing()
        case explaining.ExplainPacket():
            words = "a simulated router has no rules"
            ends = {name: getattr(body, name) for name in ("source", "destination", "port", "source_port")}
            return explaining.Explained(fate=explaining.Fate.UNKNOWN, words=words, **ends)
        case explaining.ShowRules():
            return explaining.RulesShown(rules=())
        case _:
            return channel.Diagnosed(exit_code=0, stdout="", stderr="")


def _met(tunnel: Tunnel) -> TunnelSeen:
    """Every other site answers, and none begins."""
    state = TunnelState.DISCONNECTED if tunnel.passive else TunnelState.CONNECTED
    why = "the other side has not begun" if tunnel.passive else ""
    return TunnelSeen(connection=tunnel.connection, resets=tunnel.resets, state=state, why=why)


class SimulatedAgents:
    """Satisfies service.Agents."""

    def __init__(self, world: World, driver: SimulatedDriver, notify: Callable[[link.HostNoticeBody], None]) -> None:
        self._world = world
        self._driver = driver
        self._notify = notify
        self._inside: dict[Place, Inside] = {}
        self.outcome: Outcome = usual_outcome  # may raise Refused: the task then fails with its text
        self.boot_s = BOOT_S
        self.task_s = TASK_S
        driver.ended = self._ended
        self.unknown: tuple[type, ...] = ()  # calls that these agents, of an earlier release, do not know
        self.fault_of: Callable[[msgspec.Struct], tuple[ServiceFault, ...]] = lambda document: ()
        self.fault_of_taking: Callable[[MachineSpec], tuple[ServiceFault, ...]] = lambda spec: ()

    # ------------------------------------------------------------ service.Agents
    def seen(self, machine: str, incarnation: int) -> AgentSeen | None:
        """See Agents."""
        inside = self._inside.get((machine, incarnation))
        if inside is None or not inside.connected or not self._runs(machine, incarnation):
            return None
        return AgentSeen(
            boot=self._boot(machine, incarnation, inside),
            version=VERSION,
            live=inside.live,
            faults=inside.faults,
            operations=tuple(inside.tasks.values()),
            standby=not inside.held,
            ready=inside.ready,
            carries=inside.carries and not inside.held,
            redundancy=self._redundancy(machine, incarnation),
        )

    async def call(self, machine: str, incarnation: int, body: channel.AgentCallBody) -> msgspec.Struct:
        """See Agents."""
        inside = self._inside.get((machine, incarnation))
        life = self._driver.life(machine, incarnation)
        if inside is None or life is None or not inside.connected or not life.running:
            raise NotYet(1, "the agent is not connected")
        if isinstance(body, self.unknown):
            raise Refused(f"an earlier release does not know {type(body).__name__}")
        match body:
            case channel.Apply():
                return self._apply(life, inside, body)
            case StandBy():
                inside.told, inside.held, inside.live = False, False, ""
                return self._report(life, inside)
            case TakeOver():
                return self._take_over(life, inside)
            case channel.Report():
                return self._report(life, inside)
            case channel.RunTask():
                return self._run_task(life, inside, body)
            case channel.ForgetTask():
                inside.tasks.pop(body.name, None)
                return link.Nothing()
            case TellConnections():
                before = set() if body.which is Which.ALL else inside.told_connections
                inside.told_connections = set(inside.connections)
                return Connections(entries=tuple(sorted(inside.connections - before)))
            case TakeConnections():
                inside.connections |= set(body.told.entries)
                return Taken(taken=len(body.told.entries))
            case channel.PowerOff():
                self._world.after(0.0, lambda: self._power_off(life))
                return link.Nothing()
            case channel.Greet():
                self._hello(life, inside)
                return link.Nothing()
            case channel.Ping():
                return link.Nothing()

    async def ensure(self, machine: str, incarnation: int) -> None:
        """See Agents: the machine is about to start, its agent will say hello."""
        inside = self._inside.setdefault((machine, incarnation), Inside())
        if not self._runs(machine, incarnation):
            inside.connected, inside.connections = False, set()
        self._boot_later(machine, incarnation)

    async def drop(self, machine: str, incarnation: int) -> None:
        """See Agents."""
        self._inside.pop((machine, incarnation), None)
        self._world.pairs.leave((machine, incarnation))

    # ------------------------------------------------------------ the simulation's side
    def inside(self, machine: str, incarnation: int) -> Inside | None:
        """What is inside an incarnation."""
        return self._inside.get((machine, incarnation))

    def disconnect(self, machine: str, incarnation: int) -> None:
        """Its process is gone; nobody starts it again."""
        inside = self._inside.get((machine, incarnation))
        if inside is not None and inside.connected:
            inside.connected = False
            self._notify(link.MachineChanged(machine=machine))

    def restart(self, machine: str, incarnation: int) -> None:
        """Its process died and begins again."""
        self.disconnect(machine, incarnation)
        self._boot_later(machine, incarnation)

    def disconnect_all(self) -> None:
        """The host was rebooted."""
        for inside in self._inside.values():
            inside.connected = False

    def reconnect_all(self) -> None:
        """The host agent was restarted: agents dial it again."""
        for machine, incarnation in list(self._inside):
            if self._inside[machine, incarnation].connected:
                self._inside[machine, incarnation].connected = False
                self._world.after(0.0, lambda place=(machine, incarnation): self._connect(place, new=False))  # type: ignore[misc]

    def _boot_later(self, machine: str, incarnation: int) -> None:
        self._world.after(self.boot_s, lambda: self._connect((machine, incarnation), new=True))

    def _connect(self, place: Place, *, new: bool) -> None:
        inside, life = self._inside.get(place), self._driver.life(*place)
        if inside is None or life is None or not life.running or life.spec.kind is Kind.GUEST or inside.connected:
            return
        inside.connected = True
        inside.boot += new
        if new:
            inside.told = not life.spec.standby if inside.told is None else inside.told
            inside.held = inside.told and not self._another_serves(life.spec)
            inside.live = inside.live if inside.held else ""
        if inside.pair:
            self._elect_later(inside.pair)
        self._hello(life, inside)
        self._notify(link.MachineChanged(machine=place[0]))

    def _hello(self, life: Life, inside: Inside) -> None:
        machine, incarnation = life.spec.machine, life.spec.incarnation
        hello = channel.AgentHello(
            protocol=channel.PROTOCOL,
            machine=machine,
            incarnation=incarnation,
            kind=life.spec.kind,
            version=VERSION,
            boot=self._boot(machine, incarnation, inside),
            live=inside.live,
            standby=not inside.held,
            ready=inside.ready,
            redundancy=self._redundancy(machine, incarnation),
        )
        self._say(life, hello)

    def _say(self, life: Life, notice: channel.AgentNoticeBody) -> None:
        self._notify(link.FromAgent(machine=life.spec.machine, incarnation=life.spec.incarnation, notice=notice))

    # ------------------------------------------------------------ pairs
    def _join(self, life: Life, inside: Inside) -> None:
        """A router that is told of a pair is one of it from now on, and serves on if it was alone."""
        network = next((nic.segment.key for nic in life.spec.nics if nic.segment.traffic is Traffic.GUEST), "")
        if inside.pair or not network:
            return
        place = life.spec.machine, life.spec.incarnation
        begins = RedundancyReport(RedundantState.PRIMARY)
        member = Member(place, lambda: self._runs(*place), lambda: self._say(life, begins))
        self._world.pairs.join(network, member, serves=bool(inside.live))
        inside.pair = network
        self._elect_later(network)

    def _ended(self, machine: str) -> None:
        for (name, incarnation), inside in self._inside.items():
            if name == machine and inside.pair and not self._runs(name, incarnation):
                self._world.pairs.end(inside.pair, (name, incarnation))
                self._elect_later(inside.pair)

    def _elect_later(self, network: str) -> None:
        self._world.after(TAKE_OVER_S, lambda: self._world.pairs.elect(network))

    def _redundancy(self, machine: str, incarnation: int) -> str:
        inside = self._inside.get((machine, incarnation))
        return self._world.pairs.state(inside.pair, (machine, incarnation)) if inside is not None and inside.pair else ""

    def _apply(self, life: Life, inside: Inside, body: channel.Apply) -> channel.AgentReport:
        inside.faults = self.fault_of(body.document)
        if not inside.faults:
            if isinstance(body.document, RouterDocument) and body.document.redundancy is not None:
                self._join(life, inside)
            inside.ready = digest(body.document)
            inside.live = inside.ready if inside.held else ""
            if isinstance(body.document, RouterDocument) and body.document.tunnels:
                self._say(life, channel.TunnelsReport(tuple(map(_met, body.document.tunnels))))
        return self._report(life, inside)

    def _take_over(self, life: Life, inside: Inside) -> channel.AgentReport:
        if self._another_serves(life.spec):
            raise Refused("another incarnation still serves in this network namespace")
        inside.told, inside.held = True, True
        inside.faults = self.fault_of_taking(life.spec)
        inside.live = "" if inside.faults else inside.ready
        return self._report(life, inside)

    def serves(self, machine: str, incarnation: int) -> bool:
        """Whether it runs and is the one that writes rules and answers guests."""
        inside = self._inside.get((machine, incarnation))
        if self._driver.apart:  # whatever it thinks of itself, it is heard
            heard = self._runs(machine, incarnation) and self._driver.is_open(machine, incarnation)
            return inside is not None and heard and bool(inside.ready)
        heard = self._runs(machine, incarnation) and self._driver.is_open(machine, incarnation)
        return inside is not None and inside.held and heard

    def _another_serves(self, spec: MachineSpec) -> bool:
        """Where they share a kernel the right to write is one's only."""
        if self._driver.apart:
            return False
        others = (number for number in self._driver.incarnations(spec.machine) if number != spec.incarnation)
        return any(self.serves(spec.machine, number) for number in others)

    def _report(self, life: Life, inside: Inside) -> channel.AgentReport:
        return channel.AgentReport(
            boot=self._boot(life.spec.machine, life.spec.incarnation, inside),
            live=inside.live,
            faults=inside.faults,
            operations=tuple(inside.tasks.values()),
            standby=not inside.held,
            ready=inside.ready,
            carries=inside.carries and not inside.held,
            redundancy=self._redundancy(life.spec.machine, life.spec.incarnation),
        )

    def _run_task(self, life: Life, inside: Inside, body: channel.RunTask) -> OperationSeen:
        seen = inside.tasks.get(body.name)
        if seen is None:
            seen = OperationSeen(name=body.name, state=OperationState.RUNNING)
            inside.tasks[body.name] = seen
            self._world.after(self.task_s, lambda: self._end_task(life, inside, body))
        return seen

    def _end_task(self, life: Life, inside: Inside, body: channel.RunTask) -> None:
        if body.name not in inside.tasks or not inside.connected:
            return
        seen = _ended(body, self.outcome)
        inside.tasks[body.name] = seen
        self._say(life, channel.TaskReport(task=seen))

    def _power_off(self, life: Life) -> None:
        self.disconnect(life.spec.machine, life.spec.incarnation)
        self._driver.kill(life.spec.machine, life.spec.incarnation)

    def _runs(self, machine: str, incarnation: int) -> bool:
        life = self._driver.life(machine, incarnation)
        return life is not None and life.running

    def _boot(self, machine: str, incarnation: int, inside: Inside) -> str:
        return f"{machine}.{incarnation}-{inside.boot}"


def _ended(body: channel.RunTask, outcome: Outcome) -> OperationSeen:
    try:
        result = msgspec.msgpack.encode(outcome(body.body))
    except Refused as error:
        return OperationSeen(name=body.name, state=OperationState.FAILED, error=error.text)
    return OperationSeen(name=body.name, state=OperationState.DONE, progress=1.0, result=result)
