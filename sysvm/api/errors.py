"""Which number a client sees for which kind of refusal. The only place that knows CloudStack's codes.

The texts that scripts match on are made here too.
"""

from typing import NamedTuple

from sysvm.basics.errors import DatabaseAway, Refused, Why


class Code(NamedTuple):
    """HTTP status (also `errorcode`) and exception class number; 0 = not shown."""

    status: int
    exception: int


CODES = {
    Why.PARAMETER: Code(431, 4350),
    Why.MALFORMED: Code(430, 9999),
    Why.BAD_REQUEST: Code(400, 9999),
    Why.UNKNOWN_COMMAND: Code(432, 9999),
    Why.UNAUTHENTICATED: Code(401, 0),
    Why.NOT_ALLOWED: Code(531, 4365),
    Why.METHOD: Code(405, 9999),
    Why.LIMIT: Code(532, 4280),
    Why.CAPACITY: Code(533, 4320),
    Why.UNAVAILABLE: Code(534, 4380),
    Why.ALLOCATION: Code(535, 4370),
    Why.IN_USE: Code(536, 4375),
    Why.RULE_CONFLICT: Code(537, 4360),
    Why.BUSY: Code(503, 4300),
    Why.MAINTENANCE: Code(503, 9999),
    Why.AWAY: Code(503, 4250),
    Why.INTERNAL: Code(530, 4250),
}

UNVERIFIED = "unable to verify user credentials and/or request signature"
NOT_AVAILABLE = "The given command '{}' either does not exist, is not available for user, or not available from ip address."
INTERNAL = "The server met an internal error; the administrator finds it in the log."
AWAY = "The management server cannot use its database at the moment. Nothing was done; try again soon."
UNKNOWN = "The management server lost its database while it did this: whether it was done is unknown. Look before you call again."


def missing(command: str, name: str) -> Refused:
    """A required parameter is not there."""
    return Refused(f"Unable to execute API command {command.lower()} due to missing parameter {name}")


def invalid(command: str, name: str, value: object) -> Refused:
    """A value of the wrong type."""
    return Refused(f"Unable to execute API command {command.lower()} due to invalid value {value} for parameter {name}")


def empty(name: str) -> Refused:
    """A required parameter without a value."""
    return Refused(f"Invalid value provided for API arg: {name}")


def unknown_entity(command: str, name: str, value: str) -> Refused:
    """No such object. Terraform compares the middle of this sentence."""
    return Refused(
        f"Unable to execute API command {command.lower()} due to invalid value. Invalid parameter {name} value={value}"
        " due to incorrect long value format, or entity does not exist"
    )


def bad_date(command: str, value: str) -> Refused:
    """A date in none of the accepted forms."""
    return Refused(
        f"Unable to parse date {value} for command {command}, please pass dates in the format mentioned in the api documentation"
    )


def too_long(command: str, name: str, value: str, length: int) -> Refused:
    """Longer than the catalogue allows. The value is cut, for an answer must not be as big as the request."""
    shown = value if len(value) <= 64 else f"{value[:64]}..."
    return Refused(
        f"Unable to execute API command {command.lower()}: value {shown} of parameter {name} is greater than maximum"
        f" length {length}"
    )


def unprintable(name: str) -> Refused:
    """Control characters."""
    return Refused(f"Received value containing illegal ASCII non-printable characters for parameter {name}")


def no_access(account: str, what: str) -> Refused:
    """Somebody else's object."""
    return Refused(f"Account {account} does not have permission to operate with {what}", Why.NOT_ALLOWED)


def without_database(away: DatabaseAway) -> Refused:
    """The database is away: 503, which proxies and clients may repeat; 530 when a repetition might do it twice."""
    return Refused(UNKNOWN, Why.INTERNAL) if away.unknown else Refused(AWAY, Why.AWAY)


def not_available(command: str) -> Refused:
    """A command that does not exist, or not for this caller's role."""
    return Refused(NOT_AVAILABLE.format(command), Why.UNKNOWN_COMMAND)


def not_served(command: str, feature: str) -> Refused:
    """A command that is declared, but that this release does not do."""
    return Refused(f"The command {command} is not served by this release, which leaves out: {feature}", Why.UNKNOWN_COMMAND)
