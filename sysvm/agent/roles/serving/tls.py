"""TLS contexts from PEM text; nothing of a key ever touches a disk.

`ssl` loads certificates from paths only, so a key is written to an anonymous file in memory whose path exists in this process
alone. A context is always made new: loading another certificate into a live one would leave the old one in place for clients
that prefer its kind of key.
"""

import os
import ssl

from sysvm.wire.documents import Certificate


class BadCertificate(Exception):
    """A certificate or CA that cannot be used; the text says why."""


def server_context(certificate: Certificate) -> ssl.SSLContext:
    """What browsers meet."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    _load(context, certificate)
    return context


def inner_context(certificate: Certificate) -> ssl.SSLContext:
    """What machines of the cloud itself meet: TLS 1.3 only."""
    context = server_context(certificate)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def relay_context(ca: str, certificate: Certificate) -> ssl.SSLContext:
    """How this proxy meets the relays of hosts: TLS 1.3, both sides show a certificate of the cloud's own CA.

    Names are not compared: a relay is known by its CA and its purpose (server), a console by the signed grant.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    try:
        context.load_verify_locations(cadata=ca)
    except (ssl.SSLError, ValueError) as error:
        raise BadCertificate(f"the CA of the relays cannot be read: {error}") from error
    _load(context, certificate)
    return context


def _load(context: ssl.SSLContext, certificate: Certificate) -> None:
    memory = os.memfd_create("certificate", os.MFD_CLOEXEC)
    try:
        os.write(memory, f"{certificate.key.rstrip()}\n{certificate.chain}".encode())
        context.load_cert_chain(f"/proc/self/fd/{memory}", password=_no_password)
    except (ssl.SSLError, ValueError) as error:
        raise BadCertificate(f"certificate and key cannot be used together: {error}") from error
    finally:
        os.close(memory)


def _no_password() -> str:
    raise ValueError("the key is encrypted")
