"""Do a server certificate, its key and the certificates above it fit together? Everything that is wrong, in sentences.

Members are known by name and number: the root is 1, intermediates count towards the server certificate. Nothing is
ordered or dropped silently: what is served is what was uploaded, so a wrong order is named with the right one. Pure; the
operating system's list of roots is not asked, for the clouds that need this have a CA of their own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sysvm.ca.pem import Key

CLOCK_SLACK_S = 300.0
SERVER = "the server certificate"


@dataclass(frozen=True, slots=True)
class Member:
    """A certificate above the server's."""

    name: str
    seq: int
    certificate: x509.Certificate

    @property
    def title(self) -> str:
        """How sentences call it."""
        return f"{self.name} (id {self.seq})"


def problems(leaf: x509.Certificate, key: Key, members: Sequence[Member], suffix: str, now: float) -> list[str]:
    """What must be mended before this can be served; empty when all is well."""
    found = [*_of_key(leaf, key), *_of_dates(SERVER, leaf, now), *_of_purpose(leaf), *_of_names(leaf, suffix)]
    for member in members:
        found += member_problems(member, now)
    return [*found, *_of_set(members), *_of_path(leaf, members)]


def member_problems(member: Member, now: float) -> list[str]:
    """What is wrong with one certificate of a chain, whatever the others are."""
    found = _of_dates(member.title, member.certificate, now)
    if not _is_ca(member.certificate):
        found.append(
            f"{member.title} is no CA certificate ({name_of(member.certificate)}); the server certificate is uploaded with "
            "privatekey and without name and id"
        )
    if member.seq == 1 and not is_root(member.certificate):
        found.append(
            f"{member.title} is no root: it was issued by {_issuer(member.certificate)}; the root is id 1, this is a later one"
        )
    return found


def fits(leaf: x509.Certificate, suffix: str) -> str:
    """What the settings of domains shall be for this certificate: `*.suffix`, the suffix itself, or "" (it does not fit)."""
    names = [name.lower() for name in _dns_names(leaf)]
    domain = plain_suffix(suffix)
    if f"*.{domain}" in names:
        return f"*.{domain}"
    parent = domain.partition(".")[2]
    return domain if domain in names or f"*.{parent}" in names else ""


def plain_suffix(suffix: str) -> str:
    """Without `*.` and in lower case."""
    return suffix.strip().lower().removeprefix("*").strip(".")


def is_root(certificate: x509.Certificate) -> bool:
    """Signed by itself."""
    return _issued(certificate, certificate)


def name_of(certificate: x509.Certificate) -> str:
    """The common name, else the whole subject."""
    return _name(certificate.subject)


# ---------------------------------------------------------------- the server certificate
def _of_key(leaf: x509.Certificate, key: Key) -> list[str]:
    if _public(leaf.public_key()) == _public(key.public_key()):
        return []
    return [
        "the private key is not the server certificate's; compare `openssl x509 -in server.crt -noout -pubkey` with "
        "`openssl pkey -in server.key -pubout`"
    ]


def _public(key: object) -> bytes:
    encoded: bytes = key.public_bytes(  # type: ignore[attr-defined]  # every kind of public key has it
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return encoded


def _of_dates(title: str, certificate: x509.Certificate, now: float) -> list[str]:
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    instant = datetime.fromtimestamp(now, UTC)
    if begin.timestamp() > now + CLOCK_SLACK_S:
        return [f"{title} is valid only from {begin:%Y-%m-%d %H:%M} UTC; here it is {instant:%Y-%m-%d %H:%M}: check the clock"]
    if end.timestamp() <= now:
        return [f"{title} expired on {end:%Y-%m-%d %H:%M} UTC; have it renewed and upload it by the same name"]
    return []


def _of_purpose(leaf: x509.Certificate) -> list[str]:
    try:
        usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return []
    if ExtendedKeyUsageOID.SERVER_AUTH in usage:
        return []
    return ["the server certificate is not for servers; have it issued with extendedKeyUsage=serverAuth"]


def _of_names(leaf: x509.Certificate, suffix: str) -> list[str]:
    domain, names = plain_suffix(suffix), _dns_names(leaf)
    if not domain:
        return ["domainsuffix is empty; it is the domain of the proxies' names, such as consoleproxy.company.com"]
    if fits(leaf, suffix):
        return []
    wanted = f"have it issued with subjectAltName=DNS:*.{domain}"
    if not names:
        return [f"the server certificate names no DNS name, and browsers ignore its common name; {wanted}"]
    return [f"the server certificate is for {', '.join(names)}, which does not fit the domain suffix {domain}; {wanted}"]


def _dns_names(leaf: x509.Certificate) -> list[str]:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return list(names.get_values_for_type(x509.DNSName))


# ---------------------------------------------------------------- those above it
def _of_set(members: Sequence[Member]) -> list[str]:
    found = []
    roots = [member for member in members if is_root(member.certificate)]
    if len({_print(member.certificate) for member in roots}) > 1:
        names = " and ".join(member.title for member in roots)
        found.append(f"{names} are roots, there can be one; replace the chain with `sysvm certs import DIR`")
    for index, member in enumerate(members):
        for other in members[index + 1 :]:
            if _print(member.certificate) == _print(other.certificate):
                found.append(f"{member.title} and {other.title} are the same certificate; upload the right one as one of them")
            elif member.seq == other.seq:
                found.append(f"{member.name} and {other.name} have the same id {member.seq}; give each its own")
    return found


def _of_path(leaf: x509.Certificate, members: Sequence[Member]) -> list[str]:
    path, below, title = [], leaf, SERVER
    while not is_root(below):
        above = next((m for m in members if m not in path and _issued(below, m.certificate)), None)
        if above is None:
            return [_missing(below, title, members)]
        path.append(above)
        below, title = above.certificate, above.title
    found = [
        f"{member.title} ({name_of(member.certificate)}) is not needed by the server certificate; replace the chain with "
        "`sysvm certs import DIR`"
        for member in members
        if member not in path and not any(_print(member.certificate) == _print(p.certificate) for p in path)
    ]
    if [member.seq for member in path] != sorted((member.seq for member in path), reverse=True):
        order = ", ".join(f"{member.name} id={number}" for number, member in enumerate(reversed(path), 1))
        found.append(f"the ids are not in the order of the chain, from the root (1) down; upload them as {order}")
    return found


def _missing(below: x509.Certificate, title: str, members: Sequence[Member]) -> str:
    issuer = _issuer(below)
    same = next((member for member in members if member.certificate.subject == below.issuer), None)
    if same is not None:
        return (
            f"{title} was not signed by {same.title}, although that is called {issuer}; upload the {issuer} that signed it by "
            "the same name"
        )
    return f"the issuer of {title}, {issuer}, is missing; upload it first (the root with id=1, intermediates from id=2)"


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _print(certificate: x509.Certificate) -> bytes:
    return certificate.fingerprint(hashes.SHA256())


def _issuer(certificate: x509.Certificate) -> str:
    return _name(certificate.issuer)


def _name(name: x509.Name) -> str:
    common = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(common[0].value) if common else name.rfc4514_string()
