"""Certificates and keys as people paste them: PEM or bare base64, through URLs that lost their plus signs.

A form decodes `+` to a space. Where such a text still has spaces inside, each reading of them is tried (nothing, plus,
line break after 64 or 76 characters), and the first one that is a certificate (or a key) is it: a wrong reading is no
valid DER. Every refusal says how to mend the file. Pure; whether certificates fit together is `chain.py`'s business.
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from sysvm.basics.errors import Refused

T = TypeVar("T")
Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

TO_PKCS8 = "openssl pkcs8 -topk8 -nocrypt -in server.key -out server.pkcs8.key"
TO_PLAIN = "openssl pkcs8 -in server.pkcs8.encrypted.key -out server.pkcs8.key"
RESTORED = "plus signs that URL encoding had made spaces were restored; encode the text (+ is %2B)"
LEAST_RSA_BITS = 2048

_block = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Text:
    """One block: its label ("" for bare base64) and what is inside, as it came."""

    label: str
    body: str


def read_certificate(text: str) -> tuple[x509.Certificate, str]:
    """The one certificate in a text, and a note on what was mended. Raises Refused."""
    found = [block for block in _blocks(text) if block.label in ("", "CERTIFICATE", "TRUSTED CERTIFICATE")]
    if not found:
        raise Refused("there is no certificate in the text: it begins with -----BEGIN CERTIFICATE-----")
    if len(found) > 1:
        raise Refused(
            f"the text holds {len(found)} certificates: upload each by itself, the root with id=1, intermediates from id=2, "
            "the server certificate last"
        )
    return _decoded(found[0].body, x509.load_der_x509_certificate, "certificate")


def read_key(text: str) -> tuple[Key, str]:
    """The private key in a text (PKCS#8, not encrypted), and a note on what was mended. Raises Refused."""
    found = [block for block in _blocks(text) if block.label == "" or block.label.endswith("PRIVATE KEY")]
    if len(found) != 1:
        raise Refused("there is no private key in the text: it begins with -----BEGIN PRIVATE KEY-----")
    (block,) = found
    _refuse_other_forms(block)
    key, note = _decoded(block.body, _load_key, "private key")
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size < LEAST_RSA_BITS:
        raise Refused(f"the key has {key.key_size} bits; browsers want {LEAST_RSA_BITS} or more: openssl genrsa 2048")
    return key, note


def certificate_pem(certificate: x509.Certificate) -> str:
    """As it is kept."""
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def key_pem(key: Key) -> str:
    """As it is kept: PKCS#8."""
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()


# ---------------------------------------------------------------- readings
def _blocks(text: str) -> list[Text]:
    plain = text.replace("\\r", "").replace("\\n", "\n").replace("\r", "")
    plain = re.sub(r"-----(BEGIN|END)([+ ][A-Z0-9+ ]+)-----", lambda m: f"-----{m[1]}{m[2].replace('+', ' ')}-----", plain)
    found = [Text(match[1], match[2]) for match in _block.finditer(plain)]
    if not found and "-----" in plain:
        raise Refused("the text is cut: it begins with -----BEGIN ...----- and ends with -----END ...-----, both whole")
    return found or [Text("", plain)]


def _readings(body: str) -> Iterator[tuple[str, bool]]:
    """The base64 that may be meant, and whether plus signs were put in."""
    stripped = body.strip()
    yield re.sub(r"\s", "", stripped), False
    yield re.sub(r"[\n\t]", "", re.sub(r" *\n *", "\n", stripped)).replace(" ", "+"), True
    yield re.sub(r"[\n\t]", "", stripped).replace(" ", "+"), True
    for width in (64, 76):
        yield _lines(stripped, width), True


def _lines(body: str, width: int) -> str:
    """White space after each `width` characters is a line break, other spaces are plus signs."""
    out: list[str] = []
    line = 0
    for letter in body:
        if letter.isspace() and line == width:
            line = 0
            continue
        out.append("+" if letter.isspace() else letter)
        line += 1
    return "".join(out)


def _decoded(body: str, load: Callable[[bytes], T], what: str) -> tuple[T, str]:
    why = "it is no base64"
    for reading, restored in _readings(body):
        try:
            return load(base64.b64decode(reading, validate=True)), RESTORED if restored else ""
        except binascii.Error:
            continue
        except (ValueError, UnsupportedAlgorithm) as error:
            why = str(error)
    raise Refused(
        f"the {what} cannot be read ({why.splitlines()[0]}): paste the whole PEM text, and encode it for the URL (+ is %2B)"
    )


# ---------------------------------------------------------------- keys
def _refuse_other_forms(block: Text) -> None:
    if "ENCRYPTED" in block.body:
        raise Refused(f"the private key is PKCS#1 and encrypted; convert it with: {TO_PKCS8}")
    if block.label == "ENCRYPTED PRIVATE KEY":
        raise Refused(f"the private key is encrypted; decrypt it with: {TO_PLAIN}")
    if block.label == "OPENSSH PRIVATE KEY":
        raise Refused("this is an SSH key; make one for TLS with: openssl genpkey -algorithm RSA -out server.pkcs8.key")
    if block.label not in ("", "PRIVATE KEY"):
        raise Refused(f"the private key is PKCS#1, PKCS#8 is needed; convert it with: {TO_PKCS8}")


def _load_key(der: bytes) -> Key:
    try:
        key = serialization.load_der_private_key(der, None)
    except TypeError:
        raise Refused(f"the private key is encrypted; decrypt it with: {TO_PLAIN}") from None
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise Refused("the private key is neither RSA nor elliptic curve: browsers know no other")
    whole = key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    if whole[:4] != der[:4] and len(der) < len(whole) - 16:
        raise Refused(f"the private key is PKCS#1, PKCS#8 is needed; convert it with: {TO_PKCS8}")
    return key
