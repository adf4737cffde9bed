"""Calls, answers and notices: the same three envelopes on every link, in both directions.

A `Call` is answered exactly once by an `Answer` with the same number, unless the link dies; a caller then knows nothing
about the outcome and looks again. A `Notice` expects nothing. Bodies are tagged unions of `link.py` and `channel.py`.
"""

from enum import StrEnum

import msgspec

# msgspec cannot decode `Raw | None`, so that the lack of a body is MessagePack's nil.
NOTHING = msgspec.Raw(b"\xc0")


class FaultKind(StrEnum):
    """Why a call was not done."""

    NOT_YET = "not-yet"  # ask again after `after` seconds
    REFUSED = "refused"  # what was asked cannot be
    STALE = "stale"  # the caller's fence is too old
    UNKNOWN = "unknown"  # the receiver does not know this call (an older release)
    BROKEN = "broken"  # a bug or a broken host; `text` says what


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """The reason that takes the place of a result."""

    kind: FaultKind
    text: str
    after: float = 0.0


class Call(msgspec.Struct, frozen=True, tag="call"):
    """A question or an order."""

    number: int
    body: msgspec.Raw


class Answer(msgspec.Struct, frozen=True, tag="answer"):
    """What became of the call with this number."""

    number: int
    body: msgspec.Raw = NOTHING
    fault: Fault | None = None


class Notice(msgspec.Struct, frozen=True, tag="notice"):
    """News."""

    body: msgspec.Raw


Envelope = Call | Answer | Notice
