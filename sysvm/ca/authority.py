"""Signs certificates (RFC 5280, ECDSA P-256) for hosts, servers and system VMs.

Certificates are valid from an hour ago (clocks differ) and for a day; their holders renew at a third of that. A host is
named by its UUID as common name and by the URI sysvm://<cloud>/host/<uuid>; who serves TLS on an address carries it as
an IP name too. What is revoked is the database's knowledge, not this module's.
"""

import hashlib
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sysvm.basics.errors import Refused

DAY_S = 24 * 3600.0
CLOCK_SLACK_S = 3600.0
CA_YEARS = 20
LEAST_RSA_BITS = 2048


@dataclass(frozen=True, slots=True)
class Issued:
    """A new certificate: chain (PEM, leaf first, without the root), serial (hex) and end of validity."""

    chain: str
    serial: str
    not_after: float
    key_fingerprint: str


def new_key() -> ec.EllipticCurvePrivateKey:
    """A P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    """PKCS#8, not encrypted."""
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()


def key_fingerprint(public: object) -> str:
    """SHA-256 (hex) over the public key (SubjectPublicKeyInfo, DER)."""
    if not isinstance(public, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        raise Refused("only elliptic curve and RSA keys are signed here")
    if isinstance(public, rsa.RSAPublicKey) and public.key_size < LEAST_RSA_BITS:
        raise Refused(f"an RSA key of {public.key_size} bits is too weak; make one of {LEAST_RSA_BITS} or more")
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()


def make_request(key: ec.EllipticCurvePrivateKey, common_name: str) -> str:
    """A certificate request (PKCS#10, PEM) that proves possession of `key`."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()


def parse_request(pem: str) -> x509.CertificateSigningRequest:
    """A request whose signature is right. Raises Refused."""
    try:
        request = x509.load_pem_x509_csr(pem.encode())
    except ValueError as error:
        raise Refused(f"this is no certificate request in PEM form: {error}") from error
    try:
        valid = request.is_signature_valid
    except InvalidSignature:
        valid = False
    if not valid:
        raise Refused("the certificate request is not signed by its own key")
    return request


def requested(request: x509.CertificateSigningRequest) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The DNS names (the common name first, if it is one) and addresses that a request asks for."""
    common = request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    names = [str(common[0].value)] if common else []
    try:
        others = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return tuple(names), ()
    names += others.get_values_for_type(x509.DNSName)
    return tuple(dict.fromkeys(names)), tuple(str(ip) for ip in others.get_values_for_type(x509.IPAddress))


class Authority:
    """A root certificate and its key."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self._certificate = certificate
        self._key = key
        self.ca_pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
        self.fingerprint = certificate.fingerprint(hashes.SHA256()).hex()

    @classmethod
    def new(cls, cloud: str, now: float) -> "Authority":
        """A root for a new cloud."""
        key = new_key()
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"sysvm root of cloud {cloud}")])
        begin = datetime.fromtimestamp(now - CLOCK_SLACK_S, UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(begin + timedelta(days=365 * CA_YEARS))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(sign_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls(certificate, key)

    @classmethod
    def load(cls, certificate: str, key: str) -> "Authority":
        """A root from its PEM texts."""
        loaded = serialization.load_pem_private_key(key.encode(), None)
        if not isinstance(loaded, ec.EllipticCurvePrivateKey):
            raise Refused("the authority's key is no elliptic curve key")
        return cls(x509.load_pem_x509_certificate(certificate.encode()), loaded)

    @property
    def key_pem(self) -> str:
        """The root's key, PKCS#8; to be encrypted by whoever stores it."""
        return key_pem(self._key)

    def sign_request(
        self,
        pem: str,
        common_name: str,
        uri: str,
        now: float,
        *,
        seconds: float = DAY_S,
        addresses: tuple[str, ...] = (),
        names: tuple[str, ...] = (),
    ) -> Issued:
        """Signs the key of a request; the names are ours, never the request's."""
        return self._sign(parse_request(pem).public_key(), common_name, uri, addresses, names, now, seconds)

    def issue(
        self,
        common_name: str,
        uri: str,
        now: float,
        *,
        seconds: float = DAY_S,
        addresses: tuple[str, ...] = (),
        names: tuple[str, ...] = (),
    ) -> tuple[Issued, str]:
        """A certificate with a new key (PKCS#8 PEM) for somebody who has no key of its own."""
        key = new_key()
        return self._sign(key.public_key(), common_name, uri, addresses, names, now, seconds), key_pem(key)

    def _sign(
        self,
        public: object,
        common_name: str,
        uri: str,
        addresses: tuple[str, ...],
        names: tuple[str, ...],
        now: float,
        seconds: float,
    ) -> Issued:
        fingerprint = key_fingerprint(public)
        assert isinstance(public, ec.EllipticCurvePublicKey | rsa.RSAPublicKey)
        end = now + seconds
        alternative: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri)]
        alternative += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
        alternative += [x509.DNSName(name) for name in names]
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]))
            .issuer_name(self._certificate.subject)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(datetime.fromtimestamp(now - CLOCK_SLACK_S, UTC))
            .not_valid_after(datetime.fromtimestamp(end, UTC))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(sign_certificates=False), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                critical=False,
            )
            .add_extension(x509.SubjectAlternativeName(alternative), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
        return Issued(pem, f"{certificate.serial_number:x}", end, fingerprint)


def _usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def name_and_serial(shown: Mapping[str, Any]) -> tuple[str, str]:
    """The common name and the serial (hex) of a peer's certificate, which TLS has verified and taken apart."""
    names = {key: value for part in shown.get("subject", ()) for key, value in part}
    return names.get("commonName", ""), f"{int(shown['serialNumber'], 16):x}"
