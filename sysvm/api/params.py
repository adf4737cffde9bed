"""Request parameters become typed values, by the catalogue. Pure.

Names are compared without case; of a parameter given twice the last value counts; what the catalogue does not know is
ignored, as CloudStack does. An optional parameter without a value is absent.

A map parameter comes in two shapes: `details[0].cpuNumber=2` and `tags[0].key=a&tags[0].value=b`; both become a tuple of
dicts, one per index: ({"cpuNumber": "2"},) and ({"key": "a", "value": "b"},). Clients also write `details[0]=...`,
`details.cpuNumber=2` and `tags.a=b`; those are understood as well.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from sysvm.api import errors
from sysvm.api.catalogue import Command, Param
from sysvm.basics.errors import Refused, Why

TRUE = "true"
NONE_UUID = "-1"
MOST_INDEXES = 2000

_control = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_map_name = re.compile(r"(?P<name>[^\[.]+)(?:\[(?P<index>\d+)\])?(?:\.(?P<field>.+))?", re.DOTALL)
_integer = re.compile(r"[+-]?\d{1,19}")
_lost_plus = re.compile(r" (\d\d:?\d\d)$")
_zone = re.compile(r"([+-]\d\d)(\d\d)$")
LARGEST = {"short": 2**15, "integer": 2**31, "long": 2**63}


def parse(command: Command, raw: Mapping[str, str]) -> dict[str, Any]:
    """Values by lower-case parameter name; raises Refused for the first one that is wrong."""
    accepts = command.accepts()
    found: dict[str, Any] = {}
    for name, param in accepts.items():
        if param.type == "map":
            value = _parse_map(command, param, raw)
        elif (text := raw.get(name)) is not None:
            value = _parse_one(command, param, text)
        else:
            value = None
        if value is not None:
            found[name] = value
        elif param.required:
            raise errors.missing(command.name, name)
    return found


def _parse_one(command: Command, param: Param, text: str) -> Any:
    if not text.strip():
        if param.required:
            raise errors.empty(param.name)
        # An empty string is a value (it unsets a setting, clears a text); an empty anything else is none.
        return text if param.type == "string" else None
    _check_text(command, param, text)
    return PARSERS[param.type](command, param, text)


def _check_text(command: Command, param: Param, text: str) -> None:
    if _control.search(text):
        raise errors.unprintable(param.name)
    if param.type in ("string", "uuid") and len(text) > param.length:
        raise errors.too_long(command.name, param.name, text, param.length)


def _string(_command: Command, _param: Param, text: str) -> str:
    return text


def _uuid(_command: Command, _param: Param, text: str) -> str:
    return text.strip()


def _boolean(_command: Command, _param: Param, text: str) -> bool:
    return text.strip().lower() == TRUE


def _number(command: Command, param: Param, text: str) -> int:
    stripped = text.strip()
    if not _integer.fullmatch(stripped):
        raise errors.invalid(command.name, param.name, text)
    number = int(stripped)
    if not -LARGEST[param.type] <= number < LARGEST[param.type]:
        raise errors.invalid(command.name, param.name, text)
    return number


def _float(command: Command, param: Param, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise errors.invalid(command.name, param.name, text) from None
    if number != number or number in (float("inf"), float("-inf")):
        raise errors.invalid(command.name, param.name, text)
    return number


def _list(_command: Command, _param: Param, text: str) -> tuple[str, ...] | None:
    return tuple(item.strip() for item in text.split(",") if item.strip()) or None


def _date(command: Command, _param: Param, text: str) -> float:
    try:
        return instant(text)
    except ValueError:
        raise errors.bad_date(command.name, text) from None


PARSERS: dict[str, Callable[[Command, Param, str], Any]] = {
    "string": _string,
    "uuid": _uuid,
    "boolean": _boolean,
    "integer": _number,
    "long": _number,
    "short": _number,
    "float": _float,
    "list": _list,
    "date": _date,
}


def instant(text: str) -> float:
    """Seconds since the epoch of `yyyy-MM-dd`, `yyyy-MM-dd HH:mm:ss` or ISO with zone (`Z`, `+00:00`, `+0000`)."""
    normal = text.strip()
    if "T" in normal:
        # A client that forgot to encode the plus sign sent a space.
        normal = _lost_plus.sub(r"+\1", normal.replace("Z", "+00:00"))
    normal = _zone.sub(r"\1:\2", normal)
    parsed = datetime.fromisoformat(normal)
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()


def _parse_map(command: Command, param: Param, raw: Mapping[str, str]) -> tuple[dict[str, str], ...] | None:
    lower = param.name.lower()
    groups: dict[int, dict[str, str]] = {}
    for name, text in raw.items():
        if not name.lower().startswith(lower) or (len(name) > len(lower) and name[len(lower)] not in "[."):
            continue
        if name.lower() == lower and not text.strip():
            continue  # `tags=` means none
        match = _map_name.fullmatch(name)
        if match is None or (match["index"] is None and match["field"] is None):
            raise Refused(f"{name} is no element of the map {param.name}: write {param.name}[0].key=value", Why.MALFORMED)
        if _control.search(text):
            raise errors.unprintable(param.name)
        index = int(match["index"] or 0)
        if len(groups) >= MOST_INDEXES and index not in groups:
            raise errors.invalid(command.name, param.name, f"more than {MOST_INDEXES} elements")
        groups.setdefault(index, {})[match["field"] or "value"] = text
    return tuple(groups[index] for index in sorted(groups)) or None


def pairs(groups: tuple[dict[str, str], ...] | None) -> dict[str, str]:
    """A map parameter as one dict, whichever shape it came in: fields `key` and `value` make a pair."""
    found: dict[str, str] = {}
    for group in groups or ():
        if set(group) <= {"key", "value"} and "key" in group:
            found[group["key"]] = group.get("value", "")
        else:
            found.update(group)
    return found
