"""Secondary storage VMs: how many a zone needs, which one gets a piece of work, and what one is configured to be."""

from dataclasses import dataclass

from sysvm.wire.documents import Certificate, SecStorageDocument, Store


@dataclass(frozen=True, slots=True)
class Worker:
    """A secondary storage VM as the planner sees it."""

    id: int
    wanted: str
    running: bool
    load: int  # weighted commands under way
    draining: bool


@dataclass(frozen=True, slots=True)
class Rules:
    """The zone's settings."""

    session_max: int = 50
    standby: int = 10
    count_max: int = 5
    restart: bool = True
    reserve: bool = True


@dataclass(frozen=True, slots=True)
class Grow:
    """Make one more; the first is the template processor, further ones execute commands."""

    role: str


@dataclass(frozen=True, slots=True)
class Restart:
    """Start a stopped one."""

    id: int


@dataclass(frozen=True, slots=True)
class Enough:
    """Nothing to do."""

    why: str


FleetStep = Grow | Restart | Enough


def plan_fleet(workers: tuple[Worker, ...], rules: Rules) -> FleetStep:
    """One step towards enough secondary storage VMs."""
    stopped = next((worker for worker in workers if worker.wanted == "stopped"), None)
    if stopped is not None and rules.restart:
        return Restart(stopped.id)
    if any(worker.wanted == "running" and not worker.running for worker in workers):
        return Enough("one is on its way")
    if not workers:
        return Grow("templateProcessor")
    serving = [worker for worker in workers if worker.running and not worker.draining]
    room = len(serving) * rules.session_max - sum(worker.load for worker in serving)
    if room >= rules.standby or not rules.reserve:
        return Enough("there is room")
    if len(workers) >= rules.count_max:
        return Enough(f"{rules.count_max} is the most that may be launched")
    return Grow("commandExecutor")


def choose(workers: tuple[Worker, ...]) -> int | None:
    """Who gets the next piece of work: the least loaded one that serves."""
    serving = [worker for worker in workers if worker.running and not worker.draining]
    return min(serving, key=lambda worker: (worker.load, worker.id)).id if serving else None


# How the agent begins to tell of a failure that may pass by itself; all others are the image's or its source's own fault.
PASSING = (
    "the download failed",  # the network, several times in a row
    "the image store is full",
    "the image store cannot be",  # written, used
    "this image store is not served here",
)
RETRY_PAUSES_S = (15.0, 60.0, 300.0, 600.0)


def try_again(tries: int, why: str) -> float | None:
    """Seconds until a download is tried again after `tries` failed ones; None: it is given up."""
    if not why.startswith(PASSING) or tries > len(RETRY_PAUSES_S):
        return None
    return RETRY_PAUSES_S[tries - 1]


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """What the document of a secondary storage VM is made of."""

    machine: str
    name: str
    stores: tuple[Store, ...]
    management_address: str
    public_address: str
    certificate: Certificate
    ca: str
    ticket_key: str
    allowed_internal: tuple[str, ...]
    own_networks: tuple[str, ...]
    proxy: str | None
    max_bytes: int
    dns: tuple[str, ...]


def document(facts: WorkerFacts) -> SecStorageDocument:
    """The complete configuration of a secondary storage VM."""
    return SecStorageDocument(
        machine=facts.machine,
        name=facts.name,
        stores=facts.stores,
        management_address=facts.management_address,
        public_address=facts.public_address,
        certificate=facts.certificate,
        ca=facts.ca,
        ticket_key=facts.ticket_key,
        # 0.0.0.0 is ignored, as CloudStack does: it would except everything from the ban.
        allowed_internal=tuple(cidr for cidr in facts.allowed_internal if not cidr.startswith("0.0.0.0")),
        own_networks=facts.own_networks,
        proxy=facts.proxy,
        max_bytes=facts.max_bytes,
        dns=facts.dns,
    )
