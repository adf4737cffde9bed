"""What a router checks of itself, and how it came out. Names are those that CloudStack's clients know."""

from enum import StrEnum

import msgspec


class Checks(StrEnum):
    """How costly a check is; each kind has an interval of its own."""

    BASIC = "basic"
    ADVANCED = "advanced"


class Health(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which checks a router makes, and when one fails. An interval of 0: never."""

    basic_s: int
    advanced_s: int
    tell_s: int  # at the latest after so long all results are told, though none has changed
    excluded: tuple[str, ...] = ()
    free_disk_mb: int = 0
    max_cpu: float = 100.0  # per cent
    max_memory: float = 100.0


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """One check: true, false, or None where it could not be made; `details` is the evidence."""

    name: str
    kind: Checks
    good: bool | None
    details: str
    at: float


class CheckHealth(msgspec.Struct, frozen=True, tag="check-health"):
    """Make all checks now; result: HealthReport."""


class HealthReport(msgspec.Struct, frozen=True, kw_only=True, tag="health"):
    """The newest result of every check."""

    checks: tuple[Checked, ...]
