"""Three kinds of failure, no fourth: `NotYet` (normal), `Refused` (the asker's fault), anything else is a bug.

A `Refused` carries a kind, not an API code: which number a client sees is decided in one table of the API.
"""

from collections.abc import Iterator
from enum import StrEnum


class Why(StrEnum):
    """What kind of fault a refusal is about."""

    PARAMETER = "parameter"
    MALFORMED = "malformed"
    BAD_REQUEST = "bad-request"
    UNKNOWN_COMMAND = "unknown-command"
    UNAUTHENTICATED = "unauthenticated"
    NOT_ALLOWED = "not-allowed"
    METHOD = "method"
    LIMIT = "limit"
    CAPACITY = "capacity"
    UNAVAILABLE = "unavailable"
    ALLOCATION = "allocation"
    IN_USE = "in-use"
    RULE_CONFLICT = "rule-conflict"
    BUSY = "busy"
    MAINTENANCE = "maintenance"
    AWAY = "away"
    INTERNAL = "internal"


class Refused(Exception):
    """A request that cannot be granted; the text tells its sender what to do about it."""

    def __init__(self, text: str, why: Why = Why.PARAMETER, subjects: tuple[str, ...] = ()) -> None:
        super().__init__(text)
        self.text = text
        self.why = why
        self.subjects = subjects


class NotYet(Exception):
    """Nothing is wrong, but the next step has to wait `after` seconds for what `why` says."""

    def __init__(self, after: float, why: str) -> None:
        super().__init__(why)
        self.after = after
        self.why = why


class Stale(Exception):
    """The caller's fence is older than one already seen: another worker has taken over."""


class Unreachable(Exception):
    """The link died or was silent for too long: the outcome of what was asked is unknown, so look again."""


class Elsewhere(Unreachable):
    """The host is not linked to this process; another server may hold its link."""

    def __init__(self, host: int) -> None:
        super().__init__("the host is not linked to this server")
        self.host = host


class DatabaseAway(Unreachable):
    """The database cannot be used now. Nothing was done, unless `unknown`: it went away in the very commit."""

    def __init__(self, text: str, *, unknown: bool = False) -> None:
        super().__init__(text)
        self.unknown = unknown


class Broken(Exception):
    """The other side answered that something of its own is broken; its text is passed on."""


def leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    """What went wrong, in order: tasks have tasks, and each level wraps the errors of the one below in a group."""
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from leaves(error)
        else:
            yield error
