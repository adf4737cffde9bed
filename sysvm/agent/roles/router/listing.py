"""What `nft -nn -j list table` says, compared with a ruleset. Pure: text in, words out."""

import json
from typing import Any

from sysvm.agent.roles.router.ruleset import Base, Names, Ruleset

_WORDS = 3  # differences that are spelled out


def parse(text: str) -> list[dict[str, Any]]:
    """The objects of a listing."""
    objects: list[dict[str, Any]] = json.loads(text)["nftables"]
    return objects


def names(listing: list[dict[str, Any]]) -> Names:
    """Everything by name that has to go when the table is written anew."""

    def of(kind: str) -> frozenset[str]:
        return frozenset(each[kind]["name"] for each in listing if kind in each)

    return Names(of("counter"), of("set"), of("map"), of("chain"))


def difference(listing: list[dict[str, Any]], wanted: Ruleset) -> str:
    """How the kernel differs from the ruleset, in words; empty when it does not."""
    there = names(listing)
    words = _extra("counter", there.counters, wanted.counters)
    words += _extra("set", there.sets, {each.name for each in wanted.collections if each.kind == "set"})
    words += _extra("map", there.maps, {each.name for each in wanted.collections if each.kind == "map"})
    words += _extra("chain", there.chains, {each.name for each in wanted.chains})
    words += _elements(listing, wanted) + _chains(listing, wanted)
    more = f" and {len(words) - _WORDS} more" if len(words) > _WORDS else ""
    return "; ".join(words[:_WORDS]) + more


def _extra(kind: str, there: frozenset[str], wanted: frozenset[str] | set[str]) -> list[str]:
    return [f"{kind} {name} is missing" for name in sorted(wanted - there)] + [
        f"{kind} {name} should not be there" for name in sorted(there - wanted)
    ]


def _elements(listing: list[dict[str, Any]], wanted: Ruleset) -> list[str]:
    seen = {each[kind]["name"]: each[kind] for each in listing for kind in ("set", "map") if kind in each}
    words = []
    for collection in wanted.collections:
        if collection.dynamic or collection.name not in seen:
            continue
        got = dict(_element(item) for item in seen[collection.name].get("elem", ()))
        for key in sorted(collection.elements.keys() - got.keys()):
            words.append(f"{collection.name} lacks {key}")
        for key in sorted(got.keys() - collection.elements.keys()):
            words.append(f"{collection.name} has {key} too much")
        changed = [key for key, value in collection.elements.items() if got.get(key, value) != value]
        words += [f"{collection.name} leads {key} to {got[key]}" for key in sorted(changed)]
    return words


def _element(item: Any) -> tuple[str, str]:
    if isinstance(item, list):
        return text_of(item[0]), text_of(item[1])
    return text_of(item), ""


def text_of(value: Any) -> str:
    """An element as nft writes it."""
    match value:
        case {"concat": parts}:
            return " . ".join(text_of(part) for part in parts)
        case {"range": [first, last]}:
            return f"{first}-{last}"
        case {"prefix": {"addr": start, "len": length}}:
            return f"{start}/{length}"
        case {"jump": {"target": chain}}:
            return f"jump {chain}"
        case {"elem": {"val": inner}}:
            return text_of(inner)
        case _:
            return str(value)


def _chains(listing: list[dict[str, Any]], wanted: Ruleset) -> list[str]:
    seen = {each["chain"]["name"]: each["chain"] for each in listing if "chain" in each}
    marks: dict[str, list[str]] = {name: [] for name in seen}
    for each in listing:
        if "rule" in each:
            marks[each["rule"]["chain"]].append(each["rule"].get("comment", ""))
    words = []
    for chain in wanted.chains:
        if chain.name not in seen:
            continue
        if _base(seen[chain.name]) != chain.base:
            words.append(f"chain {chain.name} hangs elsewhere or has another policy")
        if tuple(marks[chain.name]) != chain.marks():
            words.append(_rule_words(chain.name, chain.marks(), tuple(marks[chain.name])))
    return words


def _rule_words(chain: str, wanted: tuple[str, ...], there: tuple[str, ...]) -> str:
    lost, strange = len(set(wanted) - set(there)), len(set(there) - set(wanted))
    if lost or strange:
        return f"chain {chain} lacks {lost} of its rules and has {strange} strange ones"
    return f"chain {chain} has its rules in another order"


def _base(chain: dict[str, Any]) -> Base | None:
    if "hook" not in chain:
        return None
    return Base(chain["type"], chain["hook"], chain["prio"], chain["policy"])
