"""When a snapshot policy is due. Pure: instants go in and come out; time zones are those of the machine's database.

    HOURLY   MM          DAILY   MM:HH          WEEKLY   MM:HH:D (1 is Sunday)          MONTHLY   MM:HH:DD (1 to 28)

A wall time that a change of the clocks skips is due when the clocks have jumped over it; one that comes twice is due the first
time. What was missed while no server ran is made up for once.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import IntEnum
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sysvm.basics.errors import Refused

LAST_DAY = 28  # every month has it


class Interval(IntEnum):
    """CloudStack's numbers."""

    HOURLY = 0
    DAILY = 1
    WEEKLY = 2
    MONTHLY = 3


FORMS = {
    Interval.HOURLY: "MM",
    Interval.DAILY: "MM:HH",
    Interval.WEEKLY: "MM:HH:D",
    Interval.MONTHLY: "MM:HH:DD",
}


@dataclass(frozen=True, slots=True)
class Schedule:
    """What was asked for."""

    interval: Interval
    minute: int
    hour: int
    day: int  # of the week (1 is Sunday) or of the month
    zone: ZoneInfo


def parse(interval: Interval, text: str, timezone: str) -> Schedule:
    """The schedule; Refused with how it is written."""
    form = FORMS[interval]
    parts = text.strip().split(":")
    most = {Interval.WEEKLY: 7, Interval.MONTHLY: LAST_DAY}.get(interval, 0)
    limits = ((0, 59), (0, 23), (1, most))
    numbers = [int(part) if part.isascii() and part.isdigit() and len(part) < 3 else -1 for part in parts]
    if len(parts) != form.count(":") + 1 or any(
        not low <= number <= high for number, (low, high) in zip(numbers, limits, strict=False)
    ):
        raise Refused(f"Invalid schedule {text!r} for the interval {interval.name}: it is written {form}")
    try:
        zone = ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise Refused(f"Invalid time zone {timezone!r}: use a name like Europe/Berlin or UTC") from None
    minute, hour, day = (*numbers, 0, 0)[:3]
    return Schedule(interval, minute, hour, day, zone)


def next_due(schedule: Schedule, after: float) -> float:
    """The first instant later than `after` at which it is due."""
    if schedule.interval is Interval.HOURLY:
        return _next_hour(schedule, after)
    today = datetime.fromtimestamp(after, schedule.zone).date()
    # A day earlier: what a change of the clocks has moved may be of the day before.
    found = (_instant(day, schedule) for day in _days(today - timedelta(days=1), schedule))
    return next(instant for instant in found if instant > after)


def _next_hour(schedule: Schedule, after: float) -> float:
    """Zones may be off by half hours, so the minute is the zone's own."""
    begin = datetime.fromtimestamp(after, schedule.zone)
    ahead = (schedule.minute - begin.minute) % 60 * 60 - begin.second - begin.microsecond / 1e6
    found = round(after + ahead, 3)
    while found <= after or datetime.fromtimestamp(found, schedule.zone).minute != schedule.minute:
        found = _nearest(found + 3600 if found <= after else found + 60)
    return found


def _nearest(instant: float) -> float:
    """A whole minute."""
    return round(instant / 60) * 60.0


def _days(begin: date, schedule: Schedule) -> Iterator[date]:
    day = begin
    while True:
        weekday = day.isoweekday() % 7 + 1
        match schedule.interval:
            case Interval.WEEKLY:
                due = weekday == schedule.day
            case Interval.MONTHLY:
                due = day.day == schedule.day
            case _:
                due = True
        if due:
            yield day
        day += timedelta(days=1)


def _instant(day: date, schedule: Schedule) -> float:
    wall = datetime(day.year, day.month, day.day, schedule.hour, schedule.minute, tzinfo=schedule.zone)
    instant = wall.timestamp()
    if datetime.fromtimestamp(instant, schedule.zone).replace(tzinfo=None) == wall.replace(tzinfo=None):
        return instant
    # The wall time does not exist: the first that does. By the offset from before the jump it is as far behind it.
    return _jump(wall)


def _jump(wall: datetime) -> float:
    low = (wall - timedelta(hours=3)).astimezone(UTC).timestamp()
    high = (wall + timedelta(hours=3)).astimezone(UTC).timestamp()
    zone = wall.tzinfo
    before = datetime.fromtimestamp(low, zone).utcoffset()
    while high - low > 1:
        middle = (low + high) // 2
        if datetime.fromtimestamp(middle, zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return float(high)
