"""Which rule of the API stands behind a live rule or an element of a live set. Pure.

Every rule of the document is rendered alone, and what comes of it is remembered by the names that the kernel shows: elements
by set, rules by chain and mark. Where two rules of the API come to the same, the first one is named. What a document does not
explain was put into the kernel by somebody else, or is the router's own.
"""

from collections.abc import Iterator
from typing import NamedTuple

from sysvm.agent.roles.router import acls, rules, rules6
from sysvm.agent.roles.router.explaining.judging import Rule
from sysvm.agent.roles.router.explaining.matching import Hit
from sysvm.agent.roles.router.ruleset import TABLE, Collection, mark
from sysvm.wire.documents import RouterDocument

FIREWALL, EGRESS = "firewallrule", "egressfirewallrule"
FIREWALL6 = "ipv6firewallrule"
FORWARD, STATIC, BALANCER, ACL = "portforwardingrule", "staticnat", "loadbalancerrule", "networkacl"


class Owner(NamedTuple):
    """A rule of the API: its id, and what the API calls it."""

    rule: str
    kind: str


NOBODY = Owner("", "")
Place = tuple[str, str]  # a chain and a mark, or a set and an element


class Owners:
    """Of one document."""

    def __init__(self, document: RouterDocument) -> None:
        self._of: dict[Place, Owner] = {}
        for place, owner in _owned(document):
            self._of.setdefault(place, owner)
        self._marks = {
            (chain.name, each) for chain in rules.render(document).chains for each in chain.marks()
        }  # of all that is ours

    def of_rule(self, rule: Rule) -> Owner:
        """Whose this live rule is."""
        return self._of.get((rule.chain, rule.comment), NOBODY) if rule.table == TABLE else NOBODY

    def of_element(self, table: str, hit: Hit) -> Owner:
        """Whose this element is."""
        return self._of.get(hit, NOBODY) if table == TABLE else NOBODY

    def is_ours(self, rule: Rule) -> bool:
        """Whether the router's configuration has this rule."""
        return rule.table == TABLE and (rule.chain, rule.comment) in self._marks


def _owned(document: RouterDocument) -> Iterator[tuple[Place, Owner]]:
    for firewall in document.firewall:
        opened, restricted = rules.firewall((firewall,))
        owner = Owner(firewall.rule, FIREWALL)
        yield from ((("open", key), owner) for key in opened)
        for public, lines in restricted.items():
            yield from (((rules.chain_name("fw", public), mark(line)), owner) for line in lines)
    for forward in document.port_forwards:
        yield from _elements(rules.forward_maps((forward,)), Owner(forward.rule, FORWARD))
    for static in document.static_nat:
        for place in (("static_in", static.public), ("static_out", static.private)):
            yield place, Owner(static.rule, STATIC)
    for egress in document.egress:
        chain, verdict = rules.chain_name("egress", egress.device), "drop" if egress.allow_by_default else "accept"
        for rule in egress.rules:
            yield (chain, mark(rules.egress_rule(rule, verdict))), Owner(rule.rule, EGRESS)
    for routed in document.routed6:
        ways = ((rules6.inward, routed.ingress, "accept"), (rules6.outward, routed.egress, rules6.exception(routed)))
        for chain_of, six, verdict in ways:
            owners = ((mark(rules6.rule(each, verdict)), Owner(each.rule, FIREWALL6)) for each in six)
            yield from (((chain_of(routed.device), its_mark), owner) for its_mark, owner in owners)
    for tier in acls.judged(document.vpc) if document.vpc is not None else ():
        for way, numbered in (("in", tier.ingress), ("out", tier.egress)):
            for acl in numbered:
                line = acls.rule(acl, inward=way == "in")
                yield (acls.chain_name(way, tier.device), mark(line)), Owner(acl.rule, ACL)
    for balancer in document.balancing.rules if document.balancing is not None else ():
        yield ("balanced", f"{balancer.public} . {balancer.port}"), Owner(balancer.rule, BALANCER)


def _elements(collections: tuple[Collection, ...], owner: Owner) -> Iterator[tuple[Place, Owner]]:
    for collection in collections:
        yield from (((collection.name, key), owner) for key in collection.elements)
