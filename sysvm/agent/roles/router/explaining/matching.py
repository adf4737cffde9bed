"""Whether a value is among what a rule names: constants, ranges, prefixes, sets, and what a map leads it to. Pure."""

from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_network
from typing import Any

from sysvm.agent.roles.router.explaining.packet import (
    Address,
    NoMatch,
    Packet,
    Unjudged,
    Value,
    any_of,
    constant,
    value_of,
)
from sysvm.agent.roles.router.listing import text_of

Collections = Mapping[str, Mapping[str, Any]]  # sets and maps of one table, by name, as nft lists them
Hit = tuple[str, str]  # a named set or map, and its element as text
_ORDERED: dict[str, Callable[[Any, Any], bool]] = {
    "<": lambda one, other: one < other,
    ">": lambda one, other: one > other,
    "<=": lambda one, other: one <= other,
    ">=": lambda one, other: one >= other,
}


def matches(match: Mapping[str, Any], packet: Packet, collections: Collections, hits: list[Hit]) -> bool:
    """Whether a `match` statement is true; the elements of named sets that made it so go to `hits`."""
    left, right, operator = value_of(match["left"], packet), match["right"], match["op"]
    match operator:
        case "==":
            return _is(left, right, collections, hits)
        case "!=":
            return not _is(left, right, collections, [])
        case "in":
            return bool(_flags(left) & _flags(value_of(right, packet)))
        case _ if operator in _ORDERED:
            return _ORDERED[operator](left, value_of(right, packet))
        case _:
            raise Unjudged(f"the operator {operator}")


def _flags(value: Value) -> int:
    if not isinstance(value, int):
        raise Unjudged(f"the flags of {value}")
    return value


def _is(value: Value, right: Any, collections: Collections, hits: list[Hit]) -> bool:
    if isinstance(right, str) and right.startswith("@"):
        element = _found(value, _named(right, collections).get("elem", ()))
        if element is not None:
            hits.append((right[1:], text_of(element)))
        return element is not None
    if isinstance(right, dict) and "set" in right:
        return _found(value, right["set"]) is not None
    return covers(right, value)


def looked_up(key: Any, data: Any, packet: Packet, collections: Collections, hits: list[Hit]) -> Any:
    """What a map leads the packet to. Raises NoMatch where it has nothing for it."""
    value = value_of(key, packet)
    named = isinstance(data, str)
    elements = _named(data, collections).get("elem", ()) if named else data["set"]
    for found, result in elements:
        if covers(found, value):
            if named:
                hits.append((data[1:], text_of(found)))
            return result
    raise NoMatch


def _named(reference: str, collections: Collections) -> Mapping[str, Any]:
    found = collections.get(reference[1:])
    if found is None:
        raise Unjudged(f"the set {reference}")
    return found


def _found(value: Value, elements: Iterable[Any]) -> Any | None:
    return next((element for element in elements if covers(element, value)), None)


def covers(element: Any, value: Value) -> bool:
    """Whether an element, as nft lists it, stands for the value."""
    match element:
        case {"elem": {"val": inner}}:
            return covers(inner, value)
        case {"concat": parts}:
            return (
                isinstance(value, tuple)
                and len(parts) == len(value)
                and all(covers(part, one) for part, one in zip(parts, value, strict=True))
            )
        case {"range": [first, last]}:
            return _within(_constant(first), value, _constant(last))
        case {"prefix": {"addr": start, "len": length}}:
            return isinstance(value, Address) and value in ip_network(f"{start}/{length}", strict=False)
        case "*":
            return True
        case str() if element.endswith("*"):
            return isinstance(value, str) and value.startswith(element[:-1])
        case _:
            return bool(_constant(element) == value)


def _within(first: Value, value: Value, last: Value) -> bool:
    if not type(first) is type(value) is type(last):
        return False
    return bool(first <= value <= last)  # type: ignore[operator]


def _constant(element: Any) -> Value:
    match element:
        case bool() | int():
            return int(element)
        case str():
            return constant(element)
        case list():
            return any_of(element)
        case _:
            raise Unjudged(f"{element}")
