"""What page and proxy say to each other beside the console's bytes: text frames with JSON, stripped by the proxy.

A page that asks for the websocket subprotocol `sysvm.console.1` speaks these frames; its ticket then travels in the first
of them and never in the websocket's URL. Any other viewer (subprotocol `binary`, or none) shows its ticket in the query and
hears console bytes only. Unknown kinds and fields are ignored, so that beats and re-attaching can be added to it.
"""

import msgspec

SUBPROTOCOL = "sysvm.console.1"
BINARY = "binary"
MAX_TEXT = 8192


class Open(msgspec.Struct, frozen=True, tag="open", tag_field="say"):
    """Page: here is my ticket."""

    ticket: str


class Opened(msgspec.Struct, frozen=True, kw_only=True, tag="opened", tag_field="say"):
    """Proxy: console bytes follow."""

    kind: str  # vnc | text
    name: str
    session: str
    view_only: bool = False


class Refusal(msgspec.Struct, frozen=True):
    """Why a websocket is closed: a code of the private range, and a sentence for the user."""

    code: int
    text: str


TICKET, FULL, IDLE, REPLACED, GONE, ASLEEP, BROKEN = 4401, 4429, 4408, 4409, 4410, 4404, 4400

_opens = msgspec.json.Decoder(Open)
_encoder = msgspec.json.Encoder()


def parse_open(text: bytes) -> str | None:
    """The ticket in the page's first frame, or None when that frame says something else."""
    try:
        return _opens.decode(text).ticket
    except (msgspec.ValidationError, msgspec.DecodeError):
        return None


def opened(kind: str, name: str, session: str, view_only: bool) -> bytes:
    """The proxy's first frame."""
    return _encoder.encode(Opened(kind=kind, name=name, session=session, view_only=view_only))


def close_reason(text: str) -> bytes:
    """`text` as the reason of a close frame, which holds 123 bytes."""
    return text.encode()[:123].decode(errors="ignore").encode()
