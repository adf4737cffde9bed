"""All live rules and elements in the kernel's order, each with the rule of the API that stands behind it. Pure."""

from collections.abc import Iterator

from sysvm.agent.roles.router.explaining.judging import Table
from sysvm.agent.roles.router.explaining.live import Live
from sysvm.agent.roles.router.explaining.owners import Owners
from sysvm.agent.roles.router.listing import text_of
from sysvm.wire.explaining import RuleShown, RulesShown

MOST = 50_000


def shown(live: Live, owners: Owners) -> RulesShown:
    """The rules, as many as an answer has room for."""
    found = [each for table in live.tables for each in (*_collections(table, owners), *_chains(table, live, owners))]
    return RulesShown(rules=tuple(found[:MOST]), cut=max(0, len(found) - MOST))


def _collections(table: Table, owners: Owners) -> Iterator[RuleShown]:
    for name, each in table.collections.items():
        kind = "map" if "map" in each else "set"
        for element in each.get("elem", ()):
            pair = element if kind == "map" else (element,)
            key = text_of(pair[0])
            owner = owners.of_element(table.name, (name, key))
            text = " : ".join(text_of(part) for part in pair)
            yield RuleShown(table=table.name, place=f"{kind} {name}", text=text, rule=owner.rule, kind=owner.kind)


def _chains(table: Table, live: Live, owners: Owners) -> Iterator[RuleShown]:
    for chain in table.chains.values():
        place = f"chain {chain.name}"
        if chain.hook:
            text = f"type {chain.type} hook {chain.hook} priority {chain.priority}; policy {chain.policy}"
            yield RuleShown(table=table.name, place=place, text=text)
        for rule in chain.rules:
            owner = owners.of_rule(rule)
            kind = owner.kind or ("" if owners.is_ours(rule) else "stranger")
            yield RuleShown(table=table.name, place=place, text=live.text(rule), rule=owner.rule, kind=kind)
