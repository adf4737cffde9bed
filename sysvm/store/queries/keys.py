"""The cloud's own keys, made once and kept encrypted: authority, grant key, ticket secret, operators' SSH key; and the day-long
certificates of system VMs that serve or use TLS.
"""

import base64
from dataclasses import dataclass

import sqlalchemy as sa
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from sysvm.basics.ids import Ids
from sysvm.ca.authority import DAY_S, Authority
from sysvm.store import tables
from sysvm.store.secrets import Vault
from sysvm.store.store import Row, Tx
from sysvm.wire.documents import Certificate
from sysvm.wire.grants import new_grant_key, public_grant_key

AUTHORITY, GRANTS, TICKETS = "sysvm authority", "sysvm console grants", "sysvm fetch tickets"
LOGIN = "sysvm login"


@dataclass(frozen=True, slots=True)
class Keys:
    """What a server signs and encrypts with."""

    vault: Vault
    authority: Authority
    grant_key: bytes
    ticket_key: str
    login_key: str = ""  # OpenSSH private key that opens system VMs on their control NIC

    @property
    def login_public(self) -> str:
        """Its public half, as a line of authorized_keys."""
        if not self.login_key:
            return ""
        key = serialization.load_ssh_private_key(self.login_key.encode(), None).public_key()
        text = key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        return f"{text.decode()} cloud"

    @property
    def grant_public(self) -> str:
        """The public half of the grant key, as relays want it."""
        return public_grant_key(self.grant_key)


def _named(tx: Tx, name: str) -> Row | None:
    table = tables.certificate
    return tx.one(sa.select(table).where(table.c.name == name))


def ensure_keys(tx: Tx, vault: Vault, ids: Ids) -> Keys:
    """The cloud's keys; made at the first start."""
    (cloud,) = tx.all(sa.select(tables.cloud))
    authority = _named(tx, AUTHORITY)
    if authority is None:
        new = Authority.new(cloud.uuid, tx.now)
        _keep(tx, AUTHORITY, new.ca_pem, vault.seal(new.key_pem))
        authority = _named(tx, AUTHORITY)
    grants = _named(tx, GRANTS)
    if grants is None:
        _keep(tx, GRANTS, "", vault.seal(base64.b64encode(new_grant_key()).decode()))
        grants = _named(tx, GRANTS)
    assert authority is not None and grants is not None
    return Keys(
        vault=vault,
        authority=Authority.load(authority.pem, vault.open(authority.private_key)),
        grant_key=base64.b64decode(vault.open(grants.private_key)),
        ticket_key=ticket_key(tx, vault, ids),
        login_key=_login_key(tx, vault),
    )


def ticket_key(tx: Tx, vault: Vault, ids: Ids) -> str:
    """The secret of tickets and of signed addresses; made at its first use."""
    row = _named(tx, TICKETS)
    if row is not None:
        return vault.open(row.private_key)
    new = ids.token()
    _keep(tx, TICKETS, "", vault.seal(new))
    return new


def _login_key(tx: Tx, vault: Vault) -> str:
    row = _named(tx, LOGIN)
    if row is not None:
        return vault.open(row.private_key)
    new = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    _keep(tx, LOGIN, "", vault.seal(new.decode()))
    return new.decode()


def _keep(tx: Tx, name: str, pem: str, sealed: str) -> None:
    tx.insert(tables.certificate, name=name, pem=pem, private_key=sealed, domain_suffix="", created=tx.now)


def machine_certificate(tx: Tx, keys: Keys, machine: Row, addresses: tuple[str, ...]) -> Certificate:
    """The system VM's certificate of the built-in CA: the one it has, or a new one after a third of its life."""
    name = f"machine {machine.uuid} {' '.join(addresses)}".strip()
    row = _named(tx, name)
    if row is not None and tx.now < row.created + DAY_S / 3:
        return Certificate(chain=row.pem, key=keys.vault.open(row.private_key))
    if row is not None:
        tx.change(sa.delete(tables.certificate).where(tables.certificate.c.id == row.id))
    (cloud,) = tx.all(sa.select(tables.cloud))
    issued, key = keys.authority.issue(machine.uuid, f"sysvm://{cloud.uuid}/machine/{machine.uuid}", tx.now, addresses=addresses)
    _keep(tx, name, issued.chain, keys.vault.seal(key))
    return Certificate(chain=issued.chain, key=key)
