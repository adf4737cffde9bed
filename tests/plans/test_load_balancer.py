"""The load balancer's part of a router's document: equal facts make equal documents, and the page is where it may be seen."""

import dataclasses

import pytest

from sysvm.systemvms.load_balancer import BalancerFacts, PageFacts, balancing, statistics
from sysvm.wire.balancing import Algorithm, LoadBalancer, StatisticsPage

PUBLIC, GUEST, CONTROL = "203.0.113.10", "10.1.1.1", "169.254.1.7"
PAGE = PageFacts("global", 8081, "/admin?stats", "admin:se:cret", PUBLIC, GUEST, CONTROL)


def rule(name: str, *members: str) -> LoadBalancer:
    return LoadBalancer(
        rule=name, public=PUBLIC, port=80, private_port=80, algorithm=Algorithm.SOURCE, members=members
    )  # fmt: skip


def test_without_rules_nothing_is_balanced():
    assert balancing(None) is None
    assert balancing(BalancerFacts(page=PAGE)) is None


def test_the_order_of_rows_does_not_matter():
    one = BalancerFacts(rules=(rule("a", "10.1.1.6", "10.1.1.5"), rule("b")), page=PAGE)
    other = BalancerFacts(rules=(rule("b"), rule("a", "10.1.1.5", "10.1.1.6")), page=PAGE)
    assert balancing(one) == balancing(other)


@pytest.mark.parametrize(
    ("visibility", "addresses"),
    [
        ("global", (PUBLIC,)),
        ("guest-network", (GUEST,)),
        ("link-local", (CONTROL,)),
        ("all", (PUBLIC, GUEST, CONTROL)),
    ],
)
def test_the_page_is_shown_where_the_setting_says(visibility: str, addresses: tuple[str, ...]):
    """A password may have colons."""
    expected = StatisticsPage(addresses=addresses, port=8081, uri="/admin?stats", user="admin", password="se:cret")
    assert expected == statistics(dataclasses.replace(PAGE, visibility=visibility))


def test_the_page_is_on_every_rule_or_nowhere():
    assert statistics(dataclasses.replace(PAGE, visibility="disabled")) is None
    assert statistics(dataclasses.replace(PAGE, public=None)) is None, "a router without a public address"
    everywhere = statistics(dataclasses.replace(PAGE, visibility="default"))
    assert everywhere is not None and (None, ()) == (everywhere.port, everywhere.addresses)
