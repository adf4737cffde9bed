"""A browser knocks: what its upgrade request asks for, or why it is turned away. Pure.

Origin: a page of another site must not be able to use a ticket that it got hold of, so a browser's Origin must name the host
that the request was sent to, or one that the document allows. Programs that are no browsers send none and are let in; their
ticket is what counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from sysvm.agent.roles.consoleproxy.control import BINARY, SUBPROTOCOL

PATH = "/websockify"
MAX_TICKET = 4096


@dataclass(frozen=True, slots=True)
class Knock:
    """A request that may go on: with a ticket already, or with one in the first frame."""

    ticket: str
    control: bool  # speaks control frames
    subprotocol: str | None


@dataclass(frozen=True, slots=True)
class TurnedAway:
    """An HTTP status and a sentence."""

    status: int
    text: str


def read_knock(path: str, headers: Mapping[str, str], origins: tuple[str, ...]) -> Knock | TurnedAway:
    """What this request wants. `headers` is case-insensitive."""
    where, _, query = path.partition("?")
    if where.rstrip("/") != PATH:
        return TurnedAway(404, "there is nothing here; consoles are at /websockify")
    if not origin_is_ours(headers.get("Origin"), headers.get("Host", ""), origins):
        return TurnedAway(403, "this page may not open consoles here")
    offered = [name.strip() for name in headers.get("Sec-WebSocket-Protocol", "").split(",")]
    control = SUBPROTOCOL in offered
    ticket = ticket_of(query)
    if not control and not ticket:
        return TurnedAway(401, "a ticket is needed: open the console again from the list of machines")
    return Knock(ticket, control, SUBPROTOCOL if control else BINARY if BINARY in offered else None)


def ticket_of(query: str) -> str:
    """The ticket in a query string, or nothing when there is none that could be one."""
    values = parse_qs(query, max_num_fields=20).get("token", []) if query.count("&") < 20 else []
    return values[0] if len(values) == 1 and plausible(values[0]) else ""


def plausible(ticket: str) -> bool:
    """A ticket is short, printable ASCII; everything else is not worth a question to the server."""
    return 0 < len(ticket) <= MAX_TICKET and ticket.isascii() and ticket.isprintable()


def origin_is_ours(origin: str | None, host: str, origins: tuple[str, ...]) -> bool:
    """Whether a page from `origin` may talk to us, who were addressed as `host`."""
    if origin is None:
        return True
    theirs = host_of(origin)
    return theirs is not None and (theirs == host_of(f"//{host}") or theirs in {name.lower() for name in origins})


def host_of(url: str) -> str | None:
    """The host name in a URL, lower case, without the port."""
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
