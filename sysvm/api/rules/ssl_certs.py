"""Certificates of users, for load balancers: do certificate, key and chain fit together? Pure; raises Refused.

The chain may be given in any order and is kept in the order of the handshake. The system's list of roots is not asked:
many such certificates are of a company's own authority, or of themselves.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from sysvm.basics.errors import Refused
from sysvm.ca import pem

FAILED = "Parsing certificate/key failed: "
MOST_IN_CHAIN = 10


@dataclass(frozen=True, slots=True)
class Checked:
    """What is kept: PEM, the chain without the certificate itself, the key in PKCS#8 and without a password."""

    certificate: str
    chain: str
    key: str
    fingerprint: str


def check(certificate: str, key: str, chain: str | None, password: str | None, now: float) -> Checked:
    """All that is wrong with it is wrong before anything is kept."""
    leaf = _certificate(certificate)
    private = _key(key, password)
    if _public(private.public_key()) != _public_of(leaf):
        raise Refused("Bad public-private key: the private key is not that of the certificate")
    if not leaf.not_valid_before_utc.timestamp() <= now + 300 or leaf.not_valid_after_utc.timestamp() <= now:
        raise Refused(f"Certificate expired or not valid yet: it is valid from {_days(leaf)}, now is {_day(now)}")
    above = _ordered(leaf, _chain(chain))
    return Checked(
        pem.certificate_pem(leaf),
        "".join(pem.certificate_pem(each) for each in above),
        pem.key_pem(private),
        ":".join(f"{byte:02X}" for byte in leaf.fingerprint(hashes.SHA256())),
    )


def _certificate(text: str) -> x509.Certificate:
    try:
        return pem.read_certificate(text)[0]
    except Refused as refused:
        raise Refused(f"{FAILED}{refused.text}") from None


def _key(text: str, password: str | None) -> pem.Key:
    try:
        found = serialization.load_pem_private_key(text.encode(), password.encode() if password else None)
    except TypeError:
        words = "has a password: give it as password" if not password else "has no password: leave it out"
        raise Refused(f"{FAILED}the private key {words}") from None
    except (ValueError, UnsupportedAlgorithm):
        return _mended_key(text)
    if not isinstance(found, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise Refused(f"{FAILED}the private key is neither RSA nor of an elliptic curve")
    if isinstance(found, rsa.RSAPrivateKey) and found.key_size < pem.LEAST_RSA_BITS:
        raise Refused(f"{FAILED}the key has {found.key_size} bits; clients want {pem.LEAST_RSA_BITS} or more")
    return found


def _mended_key(text: str) -> pem.Key:
    try:
        return pem.read_key(text)[0]
    except Refused as refused:
        raise Refused(f"{FAILED}{refused.text}") from None


def _public(key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _public_of(certificate: x509.Certificate) -> bytes:
    key = certificate.public_key()
    return _public(key) if isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey) else b""


def _chain(text: str | None) -> list[x509.Certificate]:
    if not text or not text.strip():
        return []
    try:
        found = x509.load_pem_x509_certificates(text.encode())
    except ValueError:
        raise Refused(f"{FAILED}certchain holds no PEM certificates") from None
    if len(found) > MOST_IN_CHAIN:
        raise Refused(f"{FAILED}certchain holds {len(found)} certificates, {MOST_IN_CHAIN} is the most")
    return found


def _ordered(leaf: x509.Certificate, given: list[x509.Certificate]) -> list[x509.Certificate]:
    """The chain from the leaf upwards; everything that was given is in it."""
    rest, path, top = [each for each in given if each != leaf], [], leaf
    while rest:
        issuer = next((each for each in rest if _signed(top, each)), None)
        if issuer is None:
            raise Refused(
                f"Invalid certificate chain: {_name(top)} was issued by {top.issuer.rfc4514_string() or 'nobody'}, which is "
                f"not in certchain; {len(rest)} of its certificates belong to nothing"
            )
        rest.remove(issuer)
        path.append(issuer)
        top = issuer
    return path


def _signed(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _name(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string() or "the certificate"


def _day(instant: float) -> str:
    return datetime.fromtimestamp(instant, UTC).strftime("%Y-%m-%d")


def _days(certificate: x509.Certificate) -> str:
    return " to ".join(each.strftime("%Y-%m-%d") for each in (certificate.not_valid_before_utc, certificate.not_valid_after_utc))
