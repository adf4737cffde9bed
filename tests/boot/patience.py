"""Waiting for the world of a demo: as long as anything in it moves, however slow the machine is.

A wait fails when what is waited for has not come and nothing has moved for `STILL_S` seconds.
"""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
STILL_S = 120.0
LOOK_S = 0.1


class NotYet(Exception):
    """What is waited for has not come; why."""


def until(look: Callable[[], T | None], what: str, moving: Callable[[], object]) -> T:
    """The first answer of `look` that is true. `moving` is compared between looks: a change is progress."""
    seen, since, why = moving(), time.monotonic(), ""
    while True:
        try:
            found = look()
            if found:
                return found
            why = f"last seen: {found!r}"
        except (NotYet, OSError) as error:
            why = str(error)
        now = moving()
        if now != seen:
            seen, since = now, time.monotonic()
        assert time.monotonic() - since < STILL_S, f"{what}: nothing moves any more; {why}"
        time.sleep(LOOK_S)


def same(now: dict[str, int], before: dict[str, int]) -> bool:
    """Raises NotYet with the difference."""
    if now != before:
        raise NotYet(f"there are {now}, there were {before}")
    return True
