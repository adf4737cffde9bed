"""What page and proxy say to each other beside the console's bytes: text frames with JSON, stripped by the proxy.

A page that asks for the websocket subprotocol `sysvm.console.1` speaks these frames; its ticket then travels in the first
of them and never in the websocket's URL. Any other viewer (subprotocol `binary`, or none) shows its ticket in the query and
hears console bytes only. Unknown kinds and fields are ignored, so that more can be added to it.

    page                                   proxy
    open {ticket} | resume {secret}   ->
                                      <-   opened {kind, name, session, resume, proxies, beat_ms}
    beat {n, round_trip_ms}           ->
                                      <-   beat {n}
                                      <-   move {proxies}       go on with one of those, then leave

Beats are the page's: a proxy that was killed sends no FIN, so a page that hears nothing for two beats goes elsewhere. The
proxy needs none: a page that is gone without a word is found by TCP keep-alive, and harms nobody meanwhile.
"""

from dataclasses import dataclass

import msgspec

SUBPROTOCOL = "sysvm.console.1"
BINARY = "binary"
MAX_TEXT = 8192
BEAT_MS = 500
LONGEST_TRIP_MS = 600_000.0


class Open(msgspec.Struct, frozen=True, tag="open", tag_field="say"):
    """Page: here is my ticket."""

    ticket: str


class Resume(msgspec.Struct, frozen=True, tag="resume", tag_field="say"):
    """Page: I have been here before, or at another proxy."""

    secret: str


class Beat(msgspec.Struct, frozen=True, tag="beat", tag_field="say"):
    """Page: are you there? Its last answer took so long. Proxy: yes."""

    n: int
    round_trip_ms: float | None = None


class Opened(msgspec.Struct, frozen=True, kw_only=True, tag="opened", tag_field="say"):
    """Proxy: console bytes follow. `resume` replaces the page's earlier secret."""

    kind: str  # vnc | text
    name: str
    session: str
    view_only: bool = False
    resume: str = ""
    proxies: tuple[str, ...] = ()  # host:port of others
    beat_ms: int = BEAT_MS


class Move(msgspec.Struct, frozen=True, tag="move", tag_field="say"):
    """Proxy: I am about to go; these stay."""

    proxies: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Key:
    """What opens a console: a ticket that works once, or the secret of a session that was open before."""

    text: str
    again: bool


class Refusal(msgspec.Struct, frozen=True):
    """Why a websocket is closed: a code of the private range, and a sentence for the user."""

    code: int
    text: str


TICKET, FULL, IDLE, REPLACED, GONE, ASLEEP, BROKEN = 4401, 4429, 4408, 4409, 4410, 4404, 4400

_keys = msgspec.json.Decoder(Open | Resume)
_beats = msgspec.json.Decoder(Beat)
_encoder = msgspec.json.Encoder()


def parse_key(text: bytes) -> Key | None:
    """What the page's first frame shows, or None when that frame says something else."""
    try:
        said = _keys.decode(text)
    except (msgspec.ValidationError, msgspec.DecodeError):
        return None
    return Key(said.ticket, again=False) if isinstance(said, Open) else Key(said.secret, again=True)


def parse_beat(text: bytes) -> Beat | None:
    """A beat; None for whatever else a page may say. A round trip that none can be is left out."""
    try:
        beat = _beats.decode(text)
    except (msgspec.ValidationError, msgspec.DecodeError):
        return None
    trip = beat.round_trip_ms
    return beat if trip is None or 0 <= trip <= LONGEST_TRIP_MS else Beat(beat.n)


def say(words: Opened | Beat | Move) -> bytes:
    """A frame of the proxy."""
    return _encoder.encode(words)


def close_reason(text: str) -> bytes:
    """`text` as the reason of a close frame, which holds 123 bytes."""
    return text.encode()[:123].decode(errors="ignore").encode()
