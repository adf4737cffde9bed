"""SSH key pairs: make, register, list, delete. A private key is shown once, when it is made, and kept nowhere."""

import asyncio
import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from sysvm.api.answers import owners
from sysvm.api.before import Before
from sysvm.api.call import Call, One, Owner, Reply, Success
from sysvm.api.handlers import handler
from sysvm.api.listing import list_rows
from sysvm.basics.errors import Refused
from sysvm.store import tables
from sysvm.store.queries import ssh_keys
from sysvm.store.queries.events import About
from sysvm.store.store import Row

ABOUT = "SSHKeyPair"
BITS = 2048


@dataclass(frozen=True, slots=True)
class Pair:
    """A new key."""

    public: str
    private: str


def make_pair() -> Pair:
    """An RSA key, as every client and image understands it."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=BITS)
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    return Pair(public.decode(), private.decode())


def fingerprint(public: str) -> str:
    """MD5 of the key, in pairs with colons: what `ssh-keygen -l -E md5` says."""
    digest = hashlib.md5(base64.b64decode(public.split()[1]), usedforsecurity=False).hexdigest()
    return ":".join(digest[at : at + 2] for at in range(0, len(digest), 2))


def parse_public(text: str) -> str:
    """A public key in OpenSSH's form; clients also send it as base64 of that."""
    for candidate in (text.strip(), _unpacked(text)):
        try:
            serialization.load_ssh_public_key(candidate.encode())
        except (ValueError, UnsupportedAlgorithm):
            continue
        return candidate
    raise Refused("Public key is invalid: it must be in OpenSSH form, such as ssh-ed25519 AAAA...")


def _unpacked(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode().strip()
    except (binascii.Error, UnicodeDecodeError):
        return ""


async def _make_before(before: Before) -> Pair:
    return await asyncio.to_thread(make_pair)


@handler("createSSHKeyPair", before=_make_before)
def create_ssh_key_pair(call: Call) -> Reply:
    """A new key; its private half is in this answer and nowhere else."""
    pair: Pair = call.extra
    row = _add(call, call.owner(), pair.public)
    return One({**_answer(row), "privatekey": pair.private}, call.about(ABOUT, row), f"creating key pair {row.name}")


@handler("registerSSHKeyPair")
def register_ssh_key_pair(call: Call) -> Reply:
    """A key that was made elsewhere."""
    owner = call.owner()
    public = parse_public(call["publickey"])
    if ssh_keys.same_key(call.tx, owner.account_id, fingerprint(public)) is not None:
        raise Refused(f"A key pair with key '{public}' already exists for this account.")
    row = _add(call, owner, public)
    return One(_answer(row), call.about(ABOUT, row), f"registering key pair {row.name}")


def _add(call: Call, owner: Owner, public: str) -> Row:
    name = call["name"]
    if ssh_keys.named(call.tx, owner.account_id, name) is not None:
        raise Refused(f"A key pair with name '{name}' already exists.")
    id_ = call.tx.insert(
        tables.ssh_key_pair,
        uuid=call.ids.uuid(),
        name=name,
        public_key=public,
        fingerprint=fingerprint(public),
        created=call.now,
        **owner.columns,
    )
    row = call.tx.one(ssh_keys.statement().where(tables.ssh_key_pair.c.id == id_))
    assert row is not None
    return row


def _answer(row: Row) -> dict[str, Any]:
    mine = owners.owner(row)
    mine.pop("domainpath", None)
    return {"id": row.uuid, "name": row.name, "fingerprint": row.fingerprint, "hasannotations": False, **mine}


@handler("listSSHKeyPairs")
def list_ssh_key_pairs(call: Call) -> Reply:
    """Without the keys themselves."""
    key = tables.ssh_key_pair
    equal: dict[str, sa.ColumnElement[Any]] = {"name": key.c.name, "fingerprint": key.c.fingerprint}
    return list_rows(
        call,
        ssh_keys.statement(),
        key,
        lambda _, rows: [_answer(row) for row in rows],
        equal=equal,
        keyword=(key.c.name,),
    )


@handler("deleteSSHKeyPair")
def delete_ssh_key_pair(call: Call) -> Reply:
    """Guests that have it keep it."""
    owner = call.owner()
    row = ssh_keys.named(call.tx, owner.account_id, call["name"])
    if row is None:
        raise Refused(f"A key pair with name '{call['name']}' does not exist for this account")
    call.tx.update(tables.ssh_key_pair, row.id, removed=call.now)
    return Success(about=About(ABOUT, row.id, row.uuid, row.name), description=f"deleting key pair {row.name}")
