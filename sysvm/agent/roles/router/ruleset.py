"""A router's nftables table as data: counters, sets and maps, chains. Text for `nft -f`, whole or as a difference. Pure.

Every rule carries a comment made from its own text, so that a listing shows whether each rule is there, in its place, and
still the one that was written. Counters are added and removed, never replaced: they keep their numbers over any change.
"""

import hashlib
from collections.abc import Iterable, Mapping

import msgspec

TABLE = "inet sysvm"


class Base(msgspec.Struct, frozen=True):
    """Where a chain hangs in the kernel."""

    type: str
    hook: str
    priority: int
    policy: str


class Chain(msgspec.Struct, frozen=True):
    """Rules in order; without a base it is only jumped to."""

    name: str
    rules: tuple[str, ...] = ()
    base: Base | None = None

    def marks(self) -> tuple[str, ...]:
        """What the comments of a listing must be."""
        return tuple(mark(rule) for rule in self.rules)


class Collection(msgspec.Struct, frozen=True):
    """A set (values are empty) or a map. Keys and values are written as `nft -nn` lists them."""

    name: str
    type: str  # "ipv4_addr . inet_proto : ipv4_addr"
    elements: Mapping[str, str] = msgspec.field(default_factory=dict)
    interval: bool = False
    dynamic: str = ""  # further properties of a set that the packet path fills; its elements are not ours

    @property
    def kind(self) -> str:
        """The word of nft for it."""
        return "map" if ":" in self.type else "set"


class Ruleset(msgspec.Struct, frozen=True):
    """The whole table."""

    counters: frozenset[str]
    collections: tuple[Collection, ...]
    chains: tuple[Chain, ...]


class Names(msgspec.Struct, frozen=True):
    """What a table has now, by name; enough to take it away."""

    counters: frozenset[str] = frozenset()
    sets: frozenset[str] = frozenset()
    maps: frozenset[str] = frozenset()
    chains: frozenset[str] = frozenset()


def mark(rule: str) -> str:
    """The comment of a rule."""
    return hashlib.sha256(rule.encode()).hexdigest()[:16]


def whole(ruleset: Ruleset, there: Names) -> str:
    """One transaction after which the table is exactly `ruleset`; counters that stay are not touched."""
    lines = [f"add table {TABLE}", f"flush table {TABLE}"]
    lines += [f"delete map {TABLE} {name}" for name in sorted(there.maps)]
    lines += [f"delete set {TABLE} {name}" for name in sorted(there.sets)]
    lines += [f"delete chain {TABLE} {name}" for name in sorted(there.chains)]
    lines += [f"delete counter {TABLE} {name}" for name in sorted(there.counters - ruleset.counters)]
    lines += [f"add counter {TABLE} {name}" for name in sorted(ruleset.counters - there.counters)]
    lines += [_declared_chain(chain) for chain in ruleset.chains]
    lines += [_declared(collection) for collection in ruleset.collections]
    for collection in ruleset.collections:
        lines += _elements("add", collection.name, collection.elements.items())
    for chain in ruleset.chains:
        lines += _rules(chain)
    return "\n".join(lines) + "\n"


def change(old: Ruleset, new: Ruleset) -> str | None:
    """One transaction that turns a table that is `old` into `new`; empty when they are equal, None when only `whole` can."""
    before = {each.name: each for each in old.collections}
    after = {each.name: each for each in new.collections}
    chains_before = {each.name: each for each in old.chains}
    chains_after = {each.name: each for each in new.chains}
    if any(_shape(before[name]) != _shape(after[name]) for name in before.keys() & after.keys()):
        return None
    if any(chains_before[name].base != chains_after[name].base for name in chains_before.keys() & chains_after.keys()):
        return None
    changed = [each for each in new.chains if chains_before.get(each.name) != each]
    gone = [each for each in old.chains if each.name not in chains_after]
    lines = [f"add counter {TABLE} {name}" for name in sorted(new.counters - old.counters)]
    lines += [_declared_chain(each) for each in changed if each.name not in chains_before]
    lines += [_declared(each) for each in new.collections if each.name not in before]
    lines += [f"flush chain {TABLE} {each.name}" for each in (*changed, *gone) if each.name in chains_before]
    for name, each in before.items():
        lines += _elements("delete", name, _lost(each.elements, after[name].elements if name in after else {}))
    for name, each in after.items():
        lines += _elements("add", name, _lost(each.elements, before[name].elements if name in before else {}))
    lines += [line for each in changed for line in _rules(each)]
    lines += [f"delete {each.kind} {TABLE} {each.name}" for each in old.collections if each.name not in after]
    lines += [f"delete chain {TABLE} {each.name}" for each in gone]
    lines += [f"delete counter {TABLE} {name}" for name in sorted(old.counters - new.counters)]
    return "\n".join(lines) + "\n" if lines else ""


def _shape(collection: Collection) -> tuple[str, bool, str]:
    return collection.type, collection.interval, collection.dynamic


def _lost(these: Mapping[str, str], those: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(key, value) for key, value in these.items() if those.get(key) != value]


def _declared_chain(chain: Chain) -> str:
    if chain.base is None:
        return f"add chain {TABLE} {chain.name}"
    base = chain.base
    return (
        f"add chain {TABLE} {chain.name} {{ type {base.type} hook {base.hook} priority {base.priority}; policy {base.policy}; }}"
    )


def _declared(collection: Collection) -> str:
    flags = " flags interval;" if collection.interval else ""
    return f"add {collection.kind} {TABLE} {collection.name} {{ type {collection.type};{flags}{collection.dynamic} }}"


def _elements(verb: str, name: str, items: Iterable[tuple[str, str]]) -> list[str]:
    texts = [f"{key} : {value}" if value and verb == "add" else key for key, value in items]
    return [f"{verb} element {TABLE} {name} {{ {', '.join(texts)} }}"] if texts else []


def _rules(chain: Chain) -> list[str]:
    return [f'add rule {TABLE} {chain.name} {rule} comment "{mark(rule)}"' for rule in chain.rules]
