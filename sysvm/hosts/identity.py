"""Who this host is to its servers: key, certificate and the CA that it trusts, below <state>/host/tls.

The key is made once. The certificate is bought with a one-time token (Join) and renewed with the key afterwards. If the
agent dies between the server's answer and our disk, the key still proves who we are: Renew is tried before the token. A
server is trusted when its certificate is signed by our CA and names a server: hosts and system VMs must not pose as one.
"""

import hashlib
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sysvm.basics.errors import Refused, Why
from sysvm.ca.authority import key_pem, make_request, new_key
from sysvm.hosts.system.durable import write_durably
from sysvm.wire.link import Renewed


class Names(msgspec.Struct, frozen=True, kw_only=True):
    """What the server called us."""

    host: str
    cloud: str


@dataclass(frozen=True, slots=True)
class Lifetime:
    """From when to when a certificate is good, in seconds since the epoch."""

    begin: float
    end: float

    def renew_at(self) -> float:
        """At a third of its life."""
        return self.begin + (self.end - self.begin) / 3


class Identity:
    """The files of a host's identity."""

    def __init__(self, folder: Path) -> None:
        self._key = folder / "key.pem"
        self._certificate = folder / "cert.pem"
        self._ca = folder / "ca.pem"
        self._names = folder / "names.json"

    def names(self) -> Names | None:
        """Who we are, once a server has said so."""
        if not self._names.exists():
            return None
        return msgspec.json.decode(self._names.read_bytes(), type=Names)

    def has_key(self) -> bool:
        """True after the first attempt to join."""
        return self._key.exists()

    def request(self, name: str) -> str:
        """A certificate request by our key, which is made if need be."""
        if not self._key.exists():
            write_durably(self._key, key_pem(new_key()).encode())
        key = serialization.load_pem_private_key(self._key.read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return make_request(key, name)

    def keep(self, renewed: Renewed) -> None:
        """Stores what the server gave; the names last, because they say that the rest is there."""
        write_durably(self._certificate, renewed.chain.encode())
        write_durably(self._ca, renewed.ca.encode())
        write_durably(self._names, msgspec.json.encode(Names(host=renewed.host, cloud=renewed.cloud)))

    def lifetime(self) -> Lifetime:
        """Of the certificate in use."""
        certificate = x509.load_pem_x509_certificate(self._certificate.read_bytes())
        begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        return Lifetime(begin.timestamp(), end.timestamp())

    def ca_pem(self) -> str:
        """The CA that we trust."""
        return self._ca.read_text()

    def context(self) -> ssl.SSLContext:
        """For a link: TLS 1.3, our certificate, our CA."""
        context = trusting(self.ca_pem())
        context.load_cert_chain(self._certificate, self._key)
        return context

    def door(self) -> ssl.SSLContext:
        """For those who come to us: TLS 1.3, our certificate, and theirs of our CA."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(self._certificate, self._key)
        context.load_verify_locations(cadata=self.ca_pem())
        context.num_tickets = 0
        return context


def trusting(ca_pem: str) -> ssl.SSLContext:
    """TLS 1.3 to a server of this CA. Servers are known by their CA, not by the address that they happen to have."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.load_verify_locations(cadata=ca_pem)
    return context


def refuse_other_than_server(certificate: dict[str, object]) -> None:
    """Raises Refused unless the verified certificate of the other end names a server: our CA also signs for hosts, system
    VMs, and on request."""
    names = certificate.get("subjectAltName", ())
    assert isinstance(names, tuple)
    if not any(kind == "URI" and "/server" in value for kind, value in names):
        raise Refused("somebody else poses as a management server", Why.NOT_ALLOWED)


def pinned_ca(address: tuple[str, int], fingerprint: str, seconds: float = 10.0) -> str:
    """The CA (PEM) that the server shows in its chain, if its SHA-256 is `fingerprint`. Blocks; nothing secret is said.

    Raises Refused when it shows another one, OSError when it cannot be reached.
    """
    wanted = fingerprint.replace(":", "").lower()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with socket.create_connection(address, seconds) as plain, context.wrap_socket(plain) as tls:
        # Public only from Python 3.13 on (SSLSocket.get_unverified_chain).
        chain = tls._sslobj.get_unverified_chain()  # type: ignore[attr-defined]
        shown = [ssl.PEM_cert_to_DER_cert(certificate.public_bytes()) for certificate in chain]
    for der in shown:
        if hashlib.sha256(der).hexdigest() == wanted:
            return ssl.DER_cert_to_PEM_cert(der)
    raise Refused(f"{address[0]}:{address[1]} shows no CA with the fingerprint {fingerprint}", Why.NOT_ALLOWED)
