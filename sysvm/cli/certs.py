"""`sysvm certs list | import DIR`: the keystore without the API, for a server that runs or not.

A directory holds the server certificate with its key and the certificates above it, in files of any name; what each file is
its content says. They replace what is there, all at once, after the same checks as uploadCustomCertificate. A running
server on SQLite has the database to itself, so there the command asks for the API or for a stopped server.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from cryptography import x509

from sysvm.basics.errors import Refused
from sysvm.ca import chain, pem
from sysvm.cli import offline
from sysvm.store.queries import certificates
from sysvm.store.secrets import Vault
from sysvm.store.store import Tx

T = TypeVar("T")
SUFFIXES = (".pem", ".crt", ".cer", ".key")


@dataclass(frozen=True, slots=True)
class Found:
    """What a directory holds: the server certificate with its key, and what is above it from the root down."""

    leaf: certificates.Leaf
    members: tuple[chain.Member, ...]


def listed(state: Path, database: str = "") -> list[str]:
    """A line for each stored certificate."""
    return _run(state, database, lambda tx, vault: _lines(tx))


def imported(state: Path, folder: Path, suffix: str, database: str = "") -> str:
    """The directory's certificates are those that are served. Raises Refused with all that is wrong."""
    found = read(folder, suffix)
    return _run(state, database, lambda tx, vault: _replace(tx, vault, found))


def _lines(tx: Tx) -> list[str]:
    lines = []
    for row in certificates.rows(tx):
        certificate, _ = pem.read_certificate(row.pem)
        until = f"{certificate.not_valid_after_utc:%Y-%m-%d}"
        left = certificate.not_valid_after_utc - datetime.fromtimestamp(tx.now, UTC)
        number = str(row.seq) if row.seq is not None else "-"
        lines.append(f"{number:>3}  {row.name:20} {chain.name_of(certificate):30} until {until} ({left.days} days)")
    return lines


def _replace(tx: Tx, vault: Vault, found: Found) -> str:
    wrong = certificates.problems(found.leaf, found.members, tx.now)
    if wrong:
        raise Refused("\n".join(["these certificates cannot be served:", *(f"- {problem}" for problem in wrong)]))
    certificates.forget_members(tx)
    for member in found.members:
        text = pem.certificate_pem(member.certificate)
        certificates.keep_member(tx, member.name, member.seq, text, found.leaf.suffix)
    certificates.keep_server(tx, found.leaf, vault)
    certificates.publish(tx, vault)
    certificates.wish_documents(tx)
    return f"{len(found.members) + 1} certificates imported; console proxies show them from their next connection on"


# ---------------------------------------------------------------- the directory
def read(folder: Path, suffix: str) -> Found:
    """Sorts out which file is what. Raises Refused with the file's name."""
    if not folder.is_dir():
        raise Refused(f"{folder} is no directory")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    keys = [path for path in files if "PRIVATE KEY-----" in _text(path)]
    if len(keys) != 1:
        raise Refused(f"{folder} holds {len(keys)} private keys; there is one, the server certificate's")
    key = _named(keys[0], pem.read_key)
    known = {path: _named(path, pem.read_certificate) for path in files if path not in keys}
    leaf = next((path for path, certificate in known.items() if _belongs(certificate, key)), None)
    if leaf is None:
        raise Refused(f"no certificate in {folder} belongs to the key in {keys[0].name}")
    above = _numbered({path: certificate for path, certificate in known.items() if path != leaf})
    return Found(certificates.Leaf(pem.certificate_pem(known[leaf]), pem.key_pem(key), suffix), above)


def _text(path: Path) -> str:
    return path.read_text(errors="replace")


def _named(path: Path, load: Callable[[str], tuple[T, str]]) -> T:
    try:
        return load(_text(path))[0]
    except Refused as refused:
        raise Refused(f"{path.name}: {refused.text}") from None


def _belongs(certificate: x509.Certificate, key: pem.Key) -> bool:
    return certificate.public_key() == key.public_key()


def _numbered(above: dict[Path, x509.Certificate]) -> tuple[chain.Member, ...]:
    """From the roots down; what hangs in the air comes last, and the checks name it."""
    left = dict(above)
    ordered: list[Path] = []
    while left:
        placed = [path for path in left if chain.is_root(left[path]) or _issuer(left[path], above, ordered)]
        for path in placed or list(left):
            ordered.append(path)
            del left[path]
    return tuple(chain.Member(path.stem, number, above[path]) for number, path in enumerate(ordered, 1))


def _issuer(certificate: x509.Certificate, above: dict[Path, x509.Certificate], among: list[Path]) -> bool:
    return any(above[path].subject == certificate.issuer for path in among)


# ---------------------------------------------------------------- the database
def _run(state: Path, database: str, op: Callable[[Tx, Vault], T]) -> T:
    if database:
        return offline.in_store(state, database, op)
    offline.need_database(state)
    with offline.alone(state, "use uploadCustomCertificate, or stop it first"):
        return offline.in_store(state, "", op)
