"""Secondary storage VMs: what the next one is for, which failures of their work pass, and what one is configured to be."""

from dataclasses import dataclass

from sysvm.wire.documents import Certificate, Login, SecStorageDocument, Store


def role_of_next(count: int) -> str:
    """The first of a zone processes templates; further ones execute commands."""
    return "templateProcessor" if count == 0 else "commandExecutor"


# How the agent begins to tell of a failure that may pass by itself; all others are the image's or its source's own fault.
PASSING = (
    "the download failed",  # the network, several times in a row
    "the image store is full",
    "the image store cannot be",  # written, used
    "this image store is not served here",
)
RETRY_PAUSES_S = (15.0, 60.0, 300.0, 600.0)


def asks_peer(tries: int, *, has_source: bool) -> bool:
    """Whether the next try is at another zone that has the image: the first one, then in turn with the image's own source."""
    return not has_source or tries % 2 == 0


def try_again(tries: int, why: str, *, elsewhere: bool = False) -> float | None:
    """Seconds until a download is tried again after `tries` failed ones, perhaps elsewhere; None: it is given up."""
    if tries > len(RETRY_PAUSES_S) or not (elsewhere or why.startswith(PASSING)):
        return None
    return RETRY_PAUSES_S[tries - 1]


GB = 1024**3
HEAVY = (".gz", ".bz2", ".xz", ".zst", ".zip")  # unpacked here: that takes as much CPU as everything else about an image
_MOST_BY_SIZE = 8


def weight(kind: str, size: int, url: str = "") -> int:
    """What a command weighs: one for itself and one for each 4 GB that are known of it; twice where it has to be unpacked.

    A size that nobody knows yet counts as little: what takes long counts for long.
    """
    by_size = 1 + min(_MOST_BY_SIZE, size // (4 * GB))
    unpacks = kind == "download" and url.partition("?")[0].lower().endswith(HEAVY)
    return by_size * 2 if unpacks else by_size


def scrub_in(scrubbed: float | None, now: float, interval_s: float) -> float:
    """Seconds until a store is read through again; not above 0: now. An interval of 0: never, unless somebody asks."""
    if scrubbed is None:
        return 0.0
    return scrubbed + interval_s - now if interval_s else float("inf")


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """What the document of a secondary storage VM is made of."""

    machine: str
    name: str
    stores: tuple[Store, ...]
    management_address: str
    public_address: str
    certificate: Certificate
    public_certificate: Certificate
    ca: str
    ticket_key: str
    allowed_internal: tuple[str, ...]
    own_networks: tuple[str, ...]
    proxy: str | None
    max_bytes: int
    dns: tuple[str, ...]
    login: Login


def document(facts: WorkerFacts) -> SecStorageDocument:
    """The complete configuration of a secondary storage VM."""
    return SecStorageDocument(
        machine=facts.machine,
        name=facts.name,
        stores=facts.stores,
        management_address=facts.management_address,
        public_address=facts.public_address,
        certificate=facts.certificate,
        public_certificate=facts.public_certificate,
        ca=facts.ca,
        ticket_key=facts.ticket_key,
        # 0.0.0.0 is ignored, as CloudStack does: it would except everything from the ban.
        allowed_internal=tuple(cidr for cidr in facts.allowed_internal if not cidr.startswith("0.0.0.0")),
        own_networks=facts.own_networks,
        proxy=facts.proxy,
        max_bytes=facts.max_bytes,
        dns=facts.dns,
        login=facts.login,
    )
