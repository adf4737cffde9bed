"""URLs of NFS shares: what is read from them, and what is refused with which words."""

import pytest

from sysvm.basics.errors import Refused
from sysvm.wire.nfs import NfsShare, parse_share

GOOD = {
    "nfs://server/export": ("server", "/export", (), "nfs://server/export"),
    "NFS://Server.example/a/b/": ("server.example", "/a/b", (), "nfs://server.example/a/b"),
    "nfs://10.0.0.1//a//./b": ("10.0.0.1", "/a/b", (), "nfs://10.0.0.1/a/b"),
    "nfs://10.0.0.1:/a": ("10.0.0.1", "/a", (), "nfs://10.0.0.1/a"),
    "nfs://10.0.0.1:20490/a": ("10.0.0.1", "/a", ("port=20490",), "nfs://10.0.0.1/a?port=20490"),
    "nfs://[2001:db8::5]/a": ("2001:db8::5", "/a", (), "nfs://[2001:db8::5]/a"),
    "nfs://s/a?vers=4.1": ("s", "/a", ("vers=4.1",), "nfs://s/a?vers=4.1"),
    "nfs://s/a?nfsvers=3,proto=tcp": ("s", "/a", ("proto=tcp", "vers=3"), "nfs://s/a?proto=tcp&vers=3"),
    "nfs://s/a?wsize=65536&rsize=65536": ("s", "/a", ("rsize=65536", "wsize=65536"), "nfs://s/a?rsize=65536&wsize=65536"),
    "nfs://s/a?sec=sys&nconnect=4": ("s", "/a", ("nconnect=4", "sec=sys"), "nfs://s/a?nconnect=4&sec=sys"),
    "nfs://s/a%20b": ("s", "/a b", (), "nfs://s/a%20b"),
}

BAD = {
    "": "nfs://<server>/<export>",
    "http://server/x": "nfs://<server>/<export>",
    "nfs:///export": "nfs://<server>/<export>",
    "nfs://-o/export": "nfs://<server>/<export>",
    "nfs://server": "names no export",
    "nfs://server/": "names no export",
    "nfs://server/.": "names no export",
    "nfs://server/a/../b": "upward",
    "nfs://server/a/%2e%2e/b": "upward",
    "nfs://u:p@server/x": "credentials",
    "nfs://@server/x": "credentials",
    "nfs://server/x#y": "#",
    "nfs://server:0/x": "Port 0",
    "nfs://server:99999/x": "no URL",
    "nfs://server/a b": "%XX",
    "nfs://server/a\nb": "%XX",
    "nfs://server/a%0ab": "characters",
    "nfs://server/ä": "%XX",
    "nfs://server/a?hard": "dead server",
    "nfs://server/a?soft=1": "dead server",
    "nfs://server/a?sec=krb5": "Kerberos",
    "nfs://server/a?proto=udp": "TCP",
    "nfs://server/a?vers=2": "one of 3, 4, 4.0, 4.1, 4.2",
    "nfs://server/a?vers=4&vers=3": "twice",
    "nfs://server:1/a?port=2": "twice",
    "nfs://server/a?port=0": "from 1 to 65535",
    "nfs://server/a?rsize=1,exec": "from 4096 to 1048576",
    "nfs://server/a?exec": "no option 'exec'",
    "nfs://server/a?vers=4%2Cexec": "one of 3",
    "nfs://server/" + "a" * 3000: "longer",
}


@pytest.mark.parametrize("url", GOOD)
def test_a_share_is_read_and_has_one_spelling(url: str):
    """And the spelling is read as the same share."""
    server, path, options, spelling = GOOD[url]
    share = parse_share(url)
    assert NfsShare(server=server, path=path, options=options) == share
    assert spelling == share.url
    assert share == parse_share(share.url)


@pytest.mark.parametrize("url", BAD)
def test_what_is_no_share_is_refused_in_words(url: str):
    """The words say what would do."""
    with pytest.raises(Refused) as refused:
        parse_share(url)
    assert BAD[url] in refused.value.text


def test_the_version_of_a_setting_is_taken_where_the_url_names_none():
    """It is checked as a URL's is."""
    plain, named = parse_share("nfs://s/a?port=1"), parse_share("nfs://s/a?vers=3")
    assert ("port=1", "vers=4.2") == plain.with_version("4.2").options
    assert named == named.with_version("4.2")
    assert plain == plain.with_version("")
    with pytest.raises(Refused):
        plain.with_version("5")
