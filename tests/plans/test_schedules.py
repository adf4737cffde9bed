"""When snapshot policies are due: a table of walls and zones, and what holds for all of them."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sysvm.basics.errors import Refused
from sysvm.systemvms.schedules import Interval, next_due, parse

HOURLY, DAILY, WEEKLY, MONTHLY = Interval
DAY = 24 * 3600.0


def instant(text: str, zone: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


@pytest.mark.parametrize(
    ("interval", "schedule", "zone", "after", "due"),
    [
        (HOURLY, "30", "UTC", "2026-01-01T00:29:59", "2026-01-01T00:30:00"),
        (HOURLY, "30", "UTC", "2026-01-01T00:30:00", "2026-01-01T01:30:00"),
        (HOURLY, "0", "UTC", "2026-01-01T23:59:59", "2026-01-02T00:00:00"),
        (HOURLY, "15", "Asia/Kolkata", "2026-01-01T00:20:00", "2026-01-01T01:15:00"),
        (HOURLY, "30", "Europe/Berlin", "2026-03-29T01:30:00", "2026-03-29T03:30:00"),  # 2 o'clock is skipped
        (DAILY, "5:3", "America/New_York", "2026-05-01T03:05:00", "2026-05-02T03:05:00"),
        (
            DAILY,
            "30:2",
            "Europe/Berlin",
            "2026-03-29T00:00:00",
            "2026-03-29T03:00:00",
        ),  # skipped: when the clocks have jumped
        (DAILY, "30:2", "Europe/Berlin", "2026-03-29T04:00:00", "2026-03-30T02:30:00"),
        (
            DAILY,
            "30:2",
            "Europe/Berlin",
            "2026-10-25T03:30:00",
            "2026-10-26T02:30:00",
        ),  # it comes twice: the first time only
        (WEEKLY, "0:12:1", "UTC", "2026-01-01T00:00:00", "2026-01-04T12:00:00"),  # 1 is Sunday
        (WEEKLY, "0:12:7", "UTC", "2026-01-01T00:00:00", "2026-01-03T12:00:00"),
        (MONTHLY, "0:0:28", "UTC", "2026-02-28T00:00:00", "2026-03-28T00:00:00"),
        (MONTHLY, "0:0:1", "Pacific/Kiritimati", "2026-12-31T23:59:59", "2027-01-01T00:00:00"),
    ],
)
def test_the_next_instant(interval: Interval, schedule: str, zone: str, after: str, due: str):
    assert instant(due, zone) == next_due(parse(interval, schedule, zone), instant(after, zone))


ZONES = ("UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Sao_Paulo")
LONGEST = {HOURLY: 2 * 3600 + 1800, DAILY: DAY + 4 * 3600, WEEKLY: 7 * DAY + 4 * 3600, MONTHLY: 31 * DAY + 4 * 3600}


@given(
    st.sampled_from(list(Interval)), st.integers(0, 59), st.integers(0, 23), st.integers(1, 28), st.sampled_from(ZONES),
    st.floats(1_600_000_000, 2_000_000_000),
)  # fmt: skip
def test_it_is_later_soon_and_once(interval: Interval, minute: int, hour: int, day: int, zone: str, after: float):
    """Later than the last one, not later than an interval, and nothing lies between: a moment before, the same is said."""
    day = day if interval is MONTHLY else (day - 1) % 7 + 1
    text = ":".join(map(str, (minute, hour, day)[: max(1, interval.value + (interval < MONTHLY))][:3]))
    schedule = parse(interval, text, zone)
    due = next_due(schedule, after)
    assert after < due <= after + LONGEST[interval]
    assert due == next_due(schedule, due - 1) == next_due(schedule, max(after, due - timedelta(minutes=7).total_seconds()))


@pytest.mark.parametrize(
    ("interval", "schedule"),
    [
        (HOURLY, ""), (HOURLY, "60"), (HOURLY, "-1"), (HOURLY, "1:2"), (HOURLY, "x"), (HOURLY, "٣"), (DAILY, "5"),
        (DAILY, "0:24"), (WEEKLY, "0:0:0"), (WEEKLY, "0:0:8"), (MONTHLY, "0:0:29"), (MONTHLY, "0:0:0"), (MONTHLY, "0:0"),
    ],
)  # fmt: skip
def test_what_is_no_schedule_says_how_one_is_written(interval: Interval, schedule: str):
    with pytest.raises(Refused, match="it is written MM"):
        parse(interval, schedule, "UTC")


@pytest.mark.parametrize("zone", ["", "Mars", "/etc/passwd", "../UTC", "Europe"])
def test_what_is_no_time_zone(zone: str):
    with pytest.raises(Refused, match="Invalid time zone"):
        parse(HOURLY, "1", zone)
