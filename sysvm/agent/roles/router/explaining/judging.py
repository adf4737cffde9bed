"""One packet through one base chain, as the kernel's nftables would judge it. Pure.

The rules are those of a listing (`nft -nn -j list ruleset`), whoever wrote them. Limits and quotas count as not reached. What
a rule changes besides (counters, the MSS) has no part in it; what it says that is not understood ends the judgement: Unjudged.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sysvm.agent.roles.router.explaining.matching import Collections, Hit, looked_up, matches
from sysvm.agent.roles.router.explaining.packet import DNAT, SNAT, Address, NoMatch, Packet, Unjudged, constant

ENDS = ("accept", "drop", "reject")
_WAYS = ("return", "continue")
_WITHOUT_EFFECT = ("log", "flow", "ct helper", "ct timeout", "ct expectation", "last", "synproxy")
_MOST_JUMPS = 16


@dataclass(frozen=True, slots=True)
class Rule:
    """A live rule."""

    table: str  # "inet sysvm"
    chain: str
    handle: int
    comment: str
    expressions: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Chain:
    """A live chain; `hook` is empty for those that are only jumped to."""

    table: str
    name: str
    rules: tuple[Rule, ...] = ()
    type: str = ""
    hook: str = ""
    priority: int = 0
    policy: str = "accept"
    device: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A live table."""

    name: str
    chains: Mapping[str, Chain]
    collections: Collections


@dataclass(frozen=True, slots=True)
class Effect:
    """What a rule did: a verdict, a jump, or another address. `rule` is None for the policy of a chain."""

    what: str  # accept, drop, reject, "jump x", "dnat to ...", "snat to ...", unknown
    chain: Chain
    rule: Rule | None
    hits: tuple[Hit, ...] = ()
    why: str = ""  # of unknown


@dataclass(slots=True)
class Judged:
    """The end of a chain."""

    packet: Packet
    verdict: str = ""  # accept | drop | reject | unknown
    effects: list[Effect] = field(default_factory=list)


def judge(table: Table, base: Chain, packet: Packet) -> Judged:
    """What the base chain does with the packet."""
    judged = Judged(packet)
    try:
        _walk(table, base, judged, 0)
    except Unjudged as unknown:
        judged.verdict = "unknown"
        judged.effects.append(Effect("unknown", base, None, (), str(unknown)))
        return judged
    if not judged.verdict:
        judged.verdict = base.policy
        if base.policy != "accept":
            judged.effects.append(Effect(base.policy, base, None))
    return judged


def _walk(table: Table, chain: Chain, judged: Judged, depth: int) -> None:
    """Ends with a verdict in `judged`, or without one: the caller's chain goes on."""
    if depth > _MOST_JUMPS:
        raise Unjudged(f"jumps deeper than {_MOST_JUMPS} chains")
    for rule in chain.rules:
        hits: list[Hit] = []
        what = _outcome(table, rule, judged, hits)
        if not what or what == "continue":
            continue
        if what == "return":
            return
        judged.effects.append(Effect(what, chain, rule, tuple(hits)))
        if what in ENDS:
            judged.verdict = what
            return
        way, _, target = what.partition(" ")
        if way in ("jump", "goto"):
            _walk(table, _chain(table, target), judged, depth + 1)
            if judged.verdict or way == "goto":
                return
        else:
            judged.verdict = "accept"  # another address: the kernel asks no further rule of this chain
            return


def _chain(table: Table, name: str) -> Chain:
    found = table.chains.get(name)
    if found is None:
        raise Unjudged(f"the chain {name}")
    return found


def _outcome(table: Table, rule: Rule, judged: Judged, hits: list[Hit]) -> str:
    """What the rule does with the packet; empty when it does not match, or only counts and the like."""
    try:
        for statement in rule.expressions:
            what = _statement(table, statement, judged, hits)
            if what is False:
                return ""
            if isinstance(what, str) and what:
                return what
    except NoMatch:
        return ""
    except Unjudged as unknown:
        raise Unjudged(f"rule {rule.handle} of {rule.table} {rule.chain}: {unknown}") from None
    return ""


def _statement(table: Table, statement: Any, judged: Judged, hits: list[Hit]) -> str | bool:
    """False: the rule ends here. True: its next statement. A word: what it does."""
    name, body = _named(statement)
    packet = judged.packet
    match name:
        case "match":
            return matches(body, packet, table.collections, hits)
        case "vmap":
            return _verdict(looked_up(body["key"], body["data"], packet, table.collections, hits))
        case "limit" | "quota" | "ct count":
            return not (isinstance(body, dict) and body.get("inv", False))
        case "set":
            return all(_statement(table, inner, judged, []) is True for inner in body.get("stmt", ()))
        case "counter":
            if isinstance(body, dict) and "map" in body:
                looked_up(body["map"]["key"], body["map"]["data"], packet, table.collections, [])
            return True
        case "mangle":
            return _mangled(body, judged)
        case "dnat" | "snat" | "redirect" | "masquerade":
            return _translated(name, body, table, judged, hits)
        case _ if name in _WITHOUT_EFFECT:
            return True
        case _:
            return _verdict(statement)


def _named(statement: Any) -> tuple[str, Any]:
    """The word of a statement, and what it is about."""
    return next(iter(statement.items())) if isinstance(statement, dict) else (str(statement), None)


def _verdict(statement: Any) -> str:
    name, body = _named(statement)
    if name in ENDS or name in _WAYS:
        return name
    if name in ("jump", "goto"):
        return f"{name} {body['target']}"
    raise Unjudged(f"{statement}")


def _mangled(body: Any, judged: Judged) -> bool:
    match body:
        case {"key": {"meta": {"key": "mark"}}, "value": int() as mark}:
            judged.packet = replace(judged.packet, mark=mark)
        case {"key": {"ct": {"key": "mark"}}, "value": int() as mark}:
            judged.packet = replace(judged.packet, ct_mark=mark)
        case {"key": {"tcp option": _}} | {"key": {"payload": {"field": "dscp" | "ttl" | "hoplimit"}}}:
            return True
        case _:
            raise Unjudged(f"{body}")
    return True


# ---------------------------------------------------------------- other addresses
def _translated(name: str, body: Any, table: Table, judged: Judged, hits: list[Hit]) -> str:
    packet = judged.packet
    if name in ("redirect", "masquerade"):
        # Which address that is, the caller knows: it asks the kernel.
        port = body.get("port") if isinstance(body, dict) else None
        judged.packet = replace(packet, status=packet.status | (SNAT if name == "masquerade" else DNAT))
        if port is not None and name == "redirect":
            judged.packet = replace(judged.packet, port=_port(port))
        return name
    if body.get("family", packet.family) != packet.family:
        raise NoMatch
    address, port = _target(body, packet, table, hits)
    if name == "dnat":
        port = port or packet.port
        judged.packet = replace(packet, destination=address or packet.destination, port=port, status=packet.status | DNAT)
        return f"dnat to {judged.packet.destination}{_colon(port)}"
    port = port or packet.source_port
    judged.packet = replace(packet, source=address or packet.source, source_port=port, status=packet.status | SNAT)
    return f"snat to {judged.packet.source}"


def _target(body: Any, packet: Packet, table: Table, hits: list[Hit]) -> tuple[Address | None, int]:
    port = _port(body["port"]) if "port" in body else 0
    if "addr" not in body:
        return None, port
    found = body["addr"]
    if isinstance(found, dict) and "map" in found:
        found = looked_up(found["map"]["key"], found["map"]["data"], packet, table.collections, hits)
    if isinstance(found, dict) and "concat" in found:
        found, port = found["concat"][0], _port(found["concat"][1])
    address = constant(found) if isinstance(found, str) else None
    if not isinstance(address, Address):
        raise Unjudged(f"the address {found}")
    return address, port


def _port(found: Any) -> int:
    if not isinstance(found, int):
        raise Unjudged(f"the port {found}")
    return found


def _colon(port: int) -> str:
    return f":{port}" if port else ""
