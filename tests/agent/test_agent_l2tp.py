"""L2TP without a daemon: what xl2tpd and pppd are told, who gets which half of the range, and odd names and passwords."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sysvm.agent.roles.router import ipsec_access, l2tp
from sysvm.wire.vpn import RemoteAccess, VpnUser
from tests.agent.documents import PUBLIC, router

FOLDER = Path("/run/x")
PLAIN = RemoteAccess(
    public=PUBLIC,
    preshared_key="a secret key",
    first="10.1.2.2",
    last="10.1.2.8",
    networks=("10.1.1.0/24",),
    dns=("10.1.1.1",),
    users=(VpnUser(name="alice", password="one"),),
)


def access(**changes: Any) -> ipsec_access.Access:
    found = ipsec_access.render(router(vpn=msgspec.structs.replace(PLAIN, **changes)))
    assert found is not None
    return msgspec.structs.replace(found, l2tp=True)


@pytest.mark.parametrize(
    ("first", "last", "ikev2", "calls", "local"),
    [
        ("10.1.2.2", "10.1.2.8", "10.1.2.2-10.1.2.4", "10.1.2.5-10.1.2.8", "10.1.2.1"),
        ("10.1.2.2", "10.1.2.3", "10.1.2.2-10.1.2.2", "10.1.2.3-10.1.2.3", "10.1.2.1"),
        ("10.1.3.0", "10.1.4.255", "10.1.3.0-10.1.3.255", "10.1.4.0-10.1.4.255", "10.1.2.255"),
    ],
)
def test_both_ways_have_a_half_of_the_range(first: str, last: str, ikev2: str, calls: str, local: str) -> None:
    """Neither daemon asks the other who has an address; the server's is the one before the first."""
    both = access(first=first, last=last)
    (pool,) = both.pools().values()
    lns = l2tp.render(both)
    assert (ikev2, calls, local) == (pool["addrs"], f"{lns.first}-{lns.last}", lns.local)
    (whole,) = msgspec.structs.replace(both, l2tp=False).pools().values()
    assert f"{first}-{last}" == whole["addrs"]


def test_charon_protects_the_port_beside_the_logins() -> None:
    """In transport mode by IKEv1; another preshared key is another connection, so that the old ones end."""
    one = access().connections(kernel=True)
    (name,) = [each for each in one if each.startswith("l2tp-")]
    (child,) = one[name]["children"].values()
    assert ("1", "transport", ("dynamic[udp/1701]",)) == (one[name]["version"], child["mode"], child["local_ts"])
    assert "if_id_in" not in child
    assert name not in access(preshared_key="other").connections(kernel=True)
    assert 1 == len(msgspec.structs.replace(access(), l2tp=False).connections(kernel=True))


def test_the_daemons_are_told_what_the_document_says() -> None:
    lns = l2tp.render(access())
    server, options = lns.server(FOLDER), lns.options(FOLDER).splitlines()
    assert {"ip range = 10.1.2.5-10.1.2.8", "local ip = 10.1.2.1", f"listen-addr = {PUBLIC}"} <= set(server.splitlines())
    assert {"require-mschap-v2", "auth", "ms-dns 10.1.1.1", "ip-up-script /run/x/up"} <= set(options)
    assert "a secret key" not in server
    assert server != l2tp.render(access(preshared_key="other")).server(FOLDER), "sessions of the old key end"
    assert '"alice" * "one" *\n' == lns.secrets()


def words_of(line: str) -> list[str]:
    """The words of a line, as pppd reads them: quotes hold together, a backslash takes what comes next as it is."""
    words: list[str] = []
    text, at = None, 0
    quoted = False
    while at < len(line):
        sign = line[at]
        if quoted and sign == "\\":
            at += 1
            text = (text or "") + line[at]
        elif sign == '"':
            quoted, text = not quoted, text or ""
        elif sign == " " and not quoted:
            words += [text] if text is not None else []
            text = None
        else:
            text = (text or "") + sign
        at += 1
    return words + ([text] if text is not None else [])


ODD = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=40)


@given(name=ODD, password=ODD)
def test_whatever_is_in_a_name_or_password_is_one_word(name: str, password: str) -> None:
    """Nobody gets a second line, another name or another rule into the file by an odd one."""
    lns = msgspec.structs.replace(l2tp.render(access()), users=(VpnUser(name=name, password=password),))
    (line,) = lns.secrets().splitlines()
    assert [name, "*", password, "*"] == words_of(line)


@pytest.mark.parametrize(
    ("before", "now", "stays"),
    [
        ("one", "one", True),
        ("one", "two", False),
        ("one", None, False),
        (None, None, False),
        (None, "one", True),  # came in before it was noted who may
    ],
)
def test_who_is_removed_or_has_another_password_is_cut_off(before: str | None, now: str | None, stays: bool) -> None:
    """And nobody else: not who is called alike."""
    bob, alike = VpnUser(name="bob", password="b"), VpnUser(name="alice.b", password="c")

    def lns(password: str | None) -> l2tp.Lns:
        alice = (VpnUser(name="alice", password=password),) if password else ()
        return msgspec.structs.replace(l2tp.render(access()), users=(bob, alike, *alice))

    admitted, wanted = lns(before).secrets(), lns(now)
    assert (stays, True, True) == tuple(l2tp.may_stay(name, admitted, wanted) for name in ("alice", "bob", "alice.b"))


def test_a_machine_without_ppp_says_so(tmp_path: Path) -> None:
    assert "no PPP here" == l2tp.kernel_lacks(tmp_path)
