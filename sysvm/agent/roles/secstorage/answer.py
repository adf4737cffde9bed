"""What a source's answer means for a download that has some bytes already. Pure.

A range is asked for only where the source can say whether the file is still the same one (If-Range), or where a promised
checksum will tell. Everything else starts again at the first byte.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from sysvm.agent.roles.secstorage.fetch import SourceFailed
from sysvm.agent.roles.secstorage.incoming import Record
from sysvm.basics.errors import Refused

_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_LATER = (408, 425, 429, 500, 502, 503, 504)


@dataclass(frozen=True, slots=True)
class Begin:
    """The body begins at `at`; `total` is 0 where the source does not say."""

    at: int
    total: int
    validator: str


@dataclass(frozen=True, slots=True)
class Complete:
    """There is nothing more to come."""


def ask_for(record: Record, *, promised: bool) -> dict[str, str]:
    """The request's headers."""
    if not record.done or not (record.validator or promised):
        return {}
    headers = {"Range": f"bytes={record.done}-"}
    return {**headers, "If-Range": record.validator} if record.validator else headers


def read_answer(status: int, headers: Mapping[str, str], record: Record) -> Begin | Complete:
    """What comes now. Raises Refused (for good) or SourceFailed (later perhaps)."""
    if status == 200:
        return Begin(0, _number(headers.get("Content-Length")), validator_of(headers))
    if status == 206:
        return _partial(headers, record)
    if status == 416 and record.total and record.done == record.total:
        return Complete()
    if status == 416:
        raise Restart("the source has fewer bytes than before")
    if status in _LATER:
        raise SourceFailed(f"the source answers {status}")
    raise Refused(f"the source answers {status}: is the URL right?")


class Restart(SourceFailed):
    """The bytes that are here do not belong to what the source has now."""


def _partial(headers: Mapping[str, str], record: Record) -> Begin:
    form = _RANGE.fullmatch(headers.get("Content-Range", "").strip())
    if form is None or int(form[1]) != record.done:
        raise Restart("the source sends another range than the one asked for")
    total = 0 if form[3] == "*" else int(form[3])
    if record.total and total and total != record.total:
        raise Restart("the file at the source has changed its size")
    return Begin(record.done, total or record.total, record.validator)


def validator_of(headers: Mapping[str, str]) -> str:
    """What If-Range can compare: a strong ETag, else the date of the last change."""
    tag = headers.get("ETag", "")
    if tag.startswith('"'):
        return tag
    return headers.get("Last-Modified", "")


def _number(text: str | None) -> int:
    return int(text) if text is not None and text.isascii() and text.isdigit() else 0
