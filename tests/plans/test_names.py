"""Names of console proxies: rendered for a name server, and as records."""

from pathlib import Path

import pytest

from sysvm.systemvms.names import Domain, knot_config, parse_listen, records, zone_text

DOMAIN = Domain("consoleproxy.company.com", (("202.8.44.1", "202.8.44.3"), ("2001:db8::1", "2001:db8::2")))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.1", ("192.0.2.1", 53)),
        (" 192.0.2.1:5353 ", ("192.0.2.1", 5353)),
        ("::", ("::", 53)),
        ("[::1]:5353", ("::1", 5353)),
        ("[2001:db8::1]", ("2001:db8::1", 53)),
    ],
)
def test_where_to_listen(text: str, expected: tuple[str, int]) -> None:
    """An address alone means port 53."""
    assert parse_listen(text) == expected


@pytest.mark.parametrize("text", ["", "ns.company.com", "192.0.2.1:0", "192.0.2.1:x", "192.0.2.1:70000", "[::1", "\n"])
def test_what_is_no_place_to_listen(text: str) -> None:
    """Names are not resolved: a name server cannot wait for one."""
    with pytest.raises(ValueError):
        parse_listen(text)


def test_records_name_each_address_and_no_other() -> None:
    """Both families."""
    assert records(DOMAIN).splitlines()[2:] == [
        "202-8-44-1 A 202.8.44.1",
        "202-8-44-2 A 202.8.44.2",
        "202-8-44-3 A 202.8.44.3",
        "2001-db8--1 AAAA 2001:db8::1",
        "2001-db8--2 AAAA 2001:db8::2",
    ]


def test_a_range_that_is_too_large_for_records_says_so() -> None:
    """Nobody wants a file of 2^64 lines."""
    (line,) = records(Domain("d", (("2001:db8::", "2001:db8::ffff:ffff"),))).splitlines()[2:]
    assert line.startswith("; 2001:db8:: to 2001:db8::ffff:ffff: too many")


def test_a_zone_names_its_server_where_that_has_an_address() -> None:
    """A server on every address has none of its own."""
    assert "ns 300 A 192.0.2.1" in zone_text(DOMAIN, ("192.0.2.1", 53), 7)
    assert "ns 300" not in zone_text(DOMAIN, ("0.0.0.0", 53), 7)


def test_the_configuration_makes_names_of_the_ranges() -> None:
    """The real program reads it in tests/orchestrator."""
    text = knot_config((DOMAIN,), ("::", 53), Path("/run/x"))
    assert 'listen: [ "::@53" ]' in text
    assert "network: [ 202.8.44.1-202.8.44.3, 2001:db8::1-2001:db8::2 ]" in text
