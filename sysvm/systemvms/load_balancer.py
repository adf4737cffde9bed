"""The load balancer of a router: from the facts about its rules to its part of the document. Pure.

Where nothing is balanced nothing runs, not even the statistics page. Rules and members are sorted, so that equal facts make
equal documents.
"""

from dataclasses import dataclass

import msgspec

from sysvm.wire.balancing import Balancing, LoadBalancer, StatisticsPage


@dataclass(frozen=True, slots=True)
class PageFacts:
    """Who may see the statistics page, and the addresses where it can be."""

    visibility: str  # global | guest-network | link-local | all | default | disabled
    port: int
    uri: str
    auth: str  # user:password
    public: str | None
    guest: str | None
    control: str | None


@dataclass(frozen=True, slots=True)
class BalancerFacts:
    """Everything that a router's load balancer is made of."""

    rules: tuple[LoadBalancer, ...] = ()
    max_connections: int = 4096
    page: PageFacts | None = None


def balancing(facts: BalancerFacts | None) -> Balancing | None:
    """The document's part."""
    if facts is None or not facts.rules:
        return None
    rules = sorted(facts.rules, key=lambda rule: rule.rule)
    return Balancing(
        rules=tuple(msgspec.structs.replace(rule, members=tuple(sorted(rule.members))) for rule in rules),
        max_connections=facts.max_connections,
        statistics=statistics(facts.page) if facts.page is not None else None,
    )


def statistics(page: PageFacts) -> StatisticsPage | None:
    """Where the page is shown; None: nowhere."""
    shown = {
        "global": (page.public,),
        "guest-network": (page.guest,),
        "link-local": (page.control,),
        "all": (page.public, page.guest, page.control),
        "default": (),
    }.get(page.visibility)
    if shown is None:
        return None
    addresses = tuple(dict.fromkeys(each for each in shown if each))
    if page.visibility != "default" and not addresses:
        return None
    user, _, password = page.auth.partition(":")
    port = None if page.visibility == "default" else page.port
    return StatisticsPage(addresses=addresses, port=port, uri=page.uri, user=user, password=password)
