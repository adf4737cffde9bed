"""The keystore of uploadCustomCertificate: what was uploaded, and what of it is served.

Uploads come one by one, so what is stored may not fit together for a while (a renewal replaces a root before the
certificates below it). What is served is therefore a row of its own, written when everything stored passes the checks of
`ca/chain.py`: the last good chain stays live until there is another one. Keys are sealed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from sysvm.basics.errors import Refused
from sysvm.ca import chain, pem
from sysvm.store import tables
from sysvm.store.queries import machines
from sysvm.store.queries.jobs import Part
from sysvm.store.secrets import Vault
from sysvm.store.store import Row, Tx
from sysvm.wire.documents import Certificate
from sysvm.wire.machines import Kind

SERVER, SERVED = "CPVMCertificate", "sysvm served"
RESERVED = (SERVER.lower(), "sysvm ", "machine ", "issued ")


@dataclass(frozen=True, slots=True)
class Leaf:
    """A server certificate, checked to be readable."""

    pem: str
    key: str
    suffix: str


def members(tx: Tx) -> list[chain.Member]:
    """The certificates above the server's, the root first."""
    return [chain.Member(row.name, row.seq, pem.read_certificate(row.pem)[0]) for row in _member_rows(tx)]


def rows(tx: Tx) -> list[Row]:
    """What was uploaded, the root first and the server certificate last."""
    return [*_member_rows(tx), *tx.rows(tables.certificate, "name = :name", name=SERVER)]


def _member_rows(tx: Tx) -> list[Row]:
    return tx.rows(tables.certificate, "seq is not null order by seq, id")


def served(tx: Tx, vault: Vault) -> Certificate | None:
    """What console proxies show: the server certificate, then its chain from the leaf upwards."""
    row = next(iter(tx.rows(tables.certificate, "name = :name", name=SERVED)), None)
    return Certificate(chain=row.pem, key=vault.open(row.private_key)) if row is not None else None


def is_served(tx: Tx) -> bool:
    """Whether there is a certificate that proxies can show."""
    return bool(tx.sql("select 1 from certificate where name = :name", name=SERVED))


# ---------------------------------------------------------------- keeping
def keep_member(tx: Tx, name: str, seq: int, text: str, suffix: str) -> None:
    """A certificate of the chain; one of the same name is replaced. Raises Refused."""
    if name.lower().startswith(RESERVED):
        raise Refused(f"The name {name} is taken by the cloud itself; call a root root1, an intermediate intermed1")
    taken = next((row.name for row in _member_rows(tx) if row.seq == seq and row.name != name), None)
    if taken is not None:
        raise Refused(f"The id {seq} is that of {taken}: upload by that name to replace it, or give another id")
    _put(tx, name, pem=text, private_key=None, domain_suffix=suffix, seq=seq)


def keep_server(tx: Tx, leaf: Leaf, vault: Vault) -> None:
    """The server certificate; there is one."""
    _put(tx, SERVER, pem=leaf.pem, private_key=vault.seal(leaf.key), domain_suffix=leaf.suffix, seq=None)


def forget_members(tx: Tx) -> None:
    """A whole chain comes anew."""
    table = tables.certificate
    tx.change(sa.delete(table).where(table.c.seq.is_not(None)))


def _put(tx: Tx, name: str, **columns: object) -> None:
    table = tables.certificate
    tx.change(sa.delete(table).where(table.c.name == name))
    tx.insert(table, name=name, created=tx.now, **columns)


# ---------------------------------------------------------------- serving
def publish(tx: Tx, vault: Vault) -> list[str]:
    """What is stored becomes what is served, if it fits together; else what is wrong. Without a server certificate: nothing."""
    row = next(iter(tx.rows(tables.certificate, "name = :name", name=SERVER)), None)
    if row is None:
        return []
    above = members(tx)
    key = vault.open(row.private_key)
    found = problems(Leaf(row.pem, key, row.domain_suffix), above, tx.now)
    if not found:
        text = [row.pem, *(pem.certificate_pem(m.certificate) for m in sorted(above, key=lambda m: -m.seq))]
        whole = "".join(f"{part.strip()}\n" for part in text)
        _put(tx, SERVED, pem=whole, private_key=vault.seal(key), domain_suffix=row.domain_suffix, seq=None)
    return found


def problems(leaf: Leaf, above: Sequence[chain.Member], now: float) -> list[str]:
    """Of a server certificate and its chain, together."""
    certificate, key = pem.read_certificate(leaf.pem)[0], pem.read_key(leaf.key)[0]
    return chain.problems(certificate, key, above, leaf.suffix, now)


def wish_documents(tx: Tx) -> tuple[Part, ...]:
    """Console proxies and secondary storage VMs take what is served now."""
    kinds = (Kind.CONSOLE_PROXY.value, Kind.SECONDARY_STORAGE.value)
    where = "kind in (:one, :other) and wanted = 'running' and removed is null order by id"
    there = tx.rows(tables.machine, where, one=kinds[0], other=kinds[1])
    return tuple(machines.wish_document(tx, machine.id) for machine in there)
