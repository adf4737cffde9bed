"""Certificates and keys as they are pasted."""

import re
from urllib.parse import unquote_plus

import pytest

from sysvm.basics.errors import Refused
from sysvm.ca import pem
from tests.certificates.authority import RSA, locked, make, traditional

# One whose base64 has a plus sign in it: most have, but a test must not depend on luck.
ROOT = next(made for made in (make(f"root {n}", key=RSA) for n in range(100)) if "+" in made.pem)
PLAIN = ROOT.pem
KEY = pem.key_pem(RSA)
assert "+" in KEY


def bare(text: str) -> str:
    """Without the lines that say what it is."""
    return re.sub(r"-----[A-Z ]+-----", "", text).strip()


READABLE = [
    ("as it is", lambda text: text, False),
    ("with Windows line ends", lambda text: text.replace("\n", "\r\n"), False),
    ("after other text", lambda text: f"Subject: CN=x\n{text}\n", False),
    ("bare base64", bare, False),
    ("bare base64 in one line", lambda text: bare(text).replace("\n", ""), False),
    ("with line ends written out", lambda text: text.replace("\n", "\\n"), False),
    ("sent without encoding", unquote_plus, True),
    ("bare, sent without encoding", lambda text: unquote_plus(bare(text)), True),
    ("in one line with spaces", lambda text: text.replace("\n", " "), False),
    ("in one line, sent without encoding", lambda text: unquote_plus(text.replace("\n", "")), True),
    ("line ends and plus signs both spaces", lambda text: unquote_plus(text.replace("\n", " ")), True),
    ("encoded twice", lambda text: text.replace("BEGIN ", "BEGIN+").replace("END ", "END+"), False),
]


@pytest.mark.parametrize(("how", "change", "restored"), READABLE)
def test_a_certificate_is_read_however_it_came(how, change, restored):
    """And the sender is told when plus signs were put back."""
    got, note = pem.read_certificate(change(PLAIN))
    assert (ROOT.certificate, restored) == (got, note == pem.RESTORED), how


@pytest.mark.parametrize(("how", "change", "restored"), READABLE)
def test_a_key_is_read_however_it_came(how, change, restored):
    """Keys, too."""
    got, note = pem.read_key(change(KEY))
    assert (RSA.private_numbers(), restored) == (got.private_numbers(), note == pem.RESTORED), how


BAD_CERTIFICATES = [
    ("", "cannot be read"),
    ("hello", "cannot be read"),
    (KEY, "there is no certificate"),
    (PLAIN * 2, "holds 2 certificates"),
    (PLAIN[:-20], "the text is cut"),
    (PLAIN.replace("MII", "MIII", 1), "cannot be read"),
    (PLAIN[:200] + PLAIN[265:], "cannot be read"),
]


@pytest.mark.parametrize(("text", "why"), BAD_CERTIFICATES)
def test_what_is_no_certificate_is_refused_with_a_remedy(text, why):
    """Never a traceback."""
    with pytest.raises(Refused, match=why):
        pem.read_certificate(text)


BAD_KEYS = [
    (PLAIN, "there is no private key"),
    (traditional(RSA), "PKCS#1, PKCS#8 is needed; convert it with: openssl pkcs8 -topk8 -nocrypt"),
    (bare(traditional(RSA)), "PKCS#1, PKCS#8 is needed; convert it with: openssl pkcs8 -topk8 -nocrypt"),
    (traditional(RSA, b"secret"), "encrypted; convert it with: openssl pkcs8 -topk8 -nocrypt"),
    (locked(RSA), "encrypted; decrypt it with: openssl pkcs8 -in"),
    (bare(locked(RSA)), "encrypted; decrypt it with: openssl pkcs8 -in"),
    (KEY[:300] + KEY[365:], "cannot be read"),
]


@pytest.mark.parametrize(("text", "why"), BAD_KEYS)
def test_a_key_in_another_form_is_refused_with_the_command_that_mends_it(text, why):
    """The sentence has the command in it."""
    with pytest.raises(Refused, match=re.escape(why)):
        pem.read_key(text)
