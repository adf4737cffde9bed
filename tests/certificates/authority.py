"""A private CA, made in memory: root, intermediates and server certificates as a test wants them."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sysvm.ca import pem

NOW = 1_700_000_000.0
SUFFIX = "consoleproxy.company.com"
RSA = rsa.generate_private_key(65537, 2048)  # slow to make, so one serves all tests


@dataclass(frozen=True)
class Made:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: pem.Key

    @property
    def pem(self) -> str:
        return pem.certificate_pem(self.certificate)

    @property
    def key_pem(self) -> str:
        return pem.key_pem(self.key)


def make(
    name: str, issuer: Made | None = None, *, ca: bool = True, names: tuple[str, ...] = (), key: pem.Key | None = None,
    begin: float = -86400.0, days: float = 30, purpose: x509.ObjectIdentifier | None = None,
) -> Made:  # fmt: skip
    """A certificate signed by `issuer`, or by itself."""
    own = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    first = datetime.fromtimestamp(NOW + begin, UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(first)
        .not_valid_after(first + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(n) for n in names]), critical=False)
    if purpose is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    return Made(builder.sign(issuer.key if issuer else own, hashes.SHA256()), own)


def server(issuer: Made, *names: str, **more: object) -> Made:
    """A server certificate, for every name below SUFFIX unless told otherwise."""
    given = {"purpose": ExtendedKeyUsageOID.SERVER_AUTH, **more}
    return make("server", issuer, ca=False, names=names or (f"*.{SUFFIX}",), **given)  # type: ignore[arg-type]


def traditional(key: pem.Key, password: bytes | None = None) -> str:
    """PKCS#1."""
    lock = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    form = serialization.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(serialization.Encoding.PEM, form, lock).decode()


def locked(key: pem.Key) -> str:
    """PKCS#8, encrypted."""
    lock = serialization.BestAvailableEncryption(b"password")
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock).decode()
