"""Server certificate, key and chain: what fits, and what is said about what does not."""

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from sysvm.ca.chain import Member, fits, member_problems, problems
from tests.certificates.authority import NOW, SUFFIX, Made, make, server

DAY = 86400.0
ROOT = make("root")
UPPER = make("upper", ROOT)
LOWER = make("lower", UPPER)
LEAF = server(LOWER)
FALSE_ROOT = make("root")
OTHER = make("other")


def chain(*made: Made) -> list[Member]:
    """Members with ids from 1."""
    return [Member(f"c{number}", number, one.certificate) for number, one in enumerate(made, 1)]


WHOLE = [
    (server(ROOT), chain(ROOT)),
    (server(UPPER), chain(ROOT, UPPER)),
    (LEAF, chain(ROOT, UPPER, LOWER)),
    (LEAF, [Member("low", 9, LOWER.certificate), Member("up", 5, UPPER.certificate), Member("r", 1, ROOT.certificate)]),
    (make("alone", ca=False, names=(f"*.{SUFFIX}",)), []),
]


@pytest.mark.parametrize(("leaf", "members"), WHOLE)
def test_a_whole_chain_has_no_problem(leaf, members):
    """Of any length."""
    assert [] == problems(leaf.certificate, leaf.key, members, SUFFIX, NOW)


BROKEN = [
    ("missing intermediate", LEAF, chain(ROOT, UPPER), ["the issuer of the server certificate, lower, is missing"]),
    ("missing root", LEAF, [Member("up", 2, UPPER.certificate), Member("low", 3, LOWER.certificate)],
     ["the issuer of up (id 2), root, is missing"]),
    ("nothing but the leaf", LEAF, [], ["the issuer of the server certificate, lower, is missing"]),
    ("another root of that name", server(ROOT), chain(FALSE_ROOT),
     ["was not signed by c1 (id 1), although that is called root"]),
    ("wrong order", LEAF, chain(ROOT, LOWER, UPPER), ["the ids are not in the order of the chain", "c3 id=2, c2 id=3"]),
    ("two roots", LEAF, chain(ROOT, UPPER, LOWER, OTHER), ["c1 (id 1) and c4 (id 4) are roots", "c4 (id 4) (other) is not"]),
    ("a member twice", LEAF, chain(ROOT, UPPER, LOWER, UPPER), ["c2 (id 2) and c4 (id 4) are the same certificate"]),
    ("an unused member", server(UPPER), chain(ROOT, UPPER, LOWER), ["c3 (id 3) (lower) is not needed"]),
    ("a server as a member", LEAF, chain(ROOT, UPPER, LOWER, server(ROOT)), ["c4 (id 4) is no CA certificate", "not needed"]),
    ("expired", server(ROOT, begin=-40 * DAY), chain(ROOT), ["the server certificate expired on 2023-11-04"]),
    ("not yet", server(ROOT, begin=DAY), chain(ROOT), ["the server certificate is valid only from 2023-11-15"]),
    ("an expired member", server(old := make("old", ROOT, begin=-40 * DAY)), chain(ROOT, old), ["c2 (id 2) expired"]),
    ("for clients", server(ROOT, purpose=ExtendedKeyUsageOID.CLIENT_AUTH), chain(ROOT), ["is not for servers"]),
    ("another domain", server(ROOT, "*.other.org"), chain(ROOT), ["is for *.other.org, which does not fit"]),
    ("no names", make("x", ROOT, ca=False), chain(ROOT), ["names no DNS name", f"DNS:*.{SUFFIX}"]),
    ("id 1 is no root", server(UPPER), [Member("a", 1, UPPER.certificate), Member("b", 2, ROOT.certificate)],
     ["a (id 1) is no root", "the ids are not in the order"]),
    ("one id twice", server(UPPER), [Member("a", 1, ROOT.certificate), Member("b", 1, UPPER.certificate)],
     ["b (id 1) is no root", "a and b have the same id 1"]),
]  # fmt: skip


@pytest.mark.parametrize(("what", "leaf", "members", "said"), BROKEN)
def test_each_problem_is_named_with_its_remedy(what, leaf, members, said):
    """All of it, nothing else."""
    text = "\n".join(found := problems(leaf.certificate, leaf.key, members, SUFFIX, NOW))
    assert [part for part in said if part not in text] == [], text
    assert len(found) <= len(said), text


def test_a_key_of_another_certificate_is_named():
    """With the commands that compare."""
    (found,) = problems(LEAF.certificate, ROOT.key, chain(ROOT, UPPER, LOWER), SUFFIX, NOW)
    assert ("not the server certificate's" in found, "openssl pkey" in found) == (True, True)


FITS = [
    ((f"*.{SUFFIX}",), SUFFIX, f"*.{SUFFIX}"),
    ((f"*.{SUFFIX}",), f"*.{SUFFIX}", f"*.{SUFFIX}"),
    ((f"*.{SUFFIX}".upper(),), SUFFIX.upper(), f"*.{SUFFIX}"),
    ((SUFFIX,), SUFFIX, SUFFIX),
    (("*.company.com",), SUFFIX, SUFFIX),
    (("*.com",), SUFFIX, ""),
    ((f"a.{SUFFIX}",), SUFFIX, ""),
    (("company.com",), SUFFIX, ""),
]


@pytest.mark.parametrize(("names", "suffix", "expected"), FITS)
def test_a_wildcard_covers_one_label(names, suffix, expected):
    """What consoleproxy.url.domain shall be for the certificate."""
    assert expected == fits(server(ROOT, *names).certificate, suffix)


def test_a_member_alone_is_judged_without_the_others():
    """As it is uploaded."""
    assert [] == member_problems(Member("i", 2, UPPER.certificate), NOW)
    assert 1 == len(member_problems(Member("i", 1, UPPER.certificate), NOW))
