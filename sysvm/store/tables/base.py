"""What all tables share: metadata, column helpers, sortable addresses.

Ids are 64-bit, never reused and internal; UUIDs are what the API shows. Rows are soft-deleted (`removed`). Instants are
seconds since the epoch. Addresses are 16 bytes, IPv4 as ::ffff:a.b.c.d, so that they sort and compare as numbers.
"""

import ipaddress
import socket
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Instant = sa.Double
Address = sa.LargeBinary(16)


def key() -> sa.Column[int]:
    """The internal id."""
    return sa.Column("id", Id, primary_key=True, autoincrement=True)


def uuid() -> sa.Column[str]:
    """The id that the API shows."""
    return sa.Column("uuid", sa.String(36), nullable=False, unique=True)


def ref(name: str, target: str, *, null: bool = False, index: bool = True) -> sa.Column[Any]:
    """A reference to another table's id."""
    return sa.Column(name, Id, sa.ForeignKey(f"{target}.id"), nullable=null, index=index)


def text(name: str, default: str | None = "", *, null: bool = False, length: int | None = None) -> sa.Column[Any]:
    """A string; never NULL unless said."""
    kind = sa.String(length) if length else sa.Text()
    return sa.Column(name, kind, nullable=null, default=None if null else default)


def number(name: str, default: int | None = 0, *, null: bool = False) -> sa.Column[Any]:
    """A 64-bit integer."""
    return sa.Column(name, sa.BigInteger, nullable=null, default=default)


def flag(name: str, default: bool = False) -> sa.Column[Any]:
    """A boolean."""
    return sa.Column(name, sa.Boolean, nullable=False, default=default)


def instant(name: str, *, null: bool = True) -> sa.Column[Any]:
    """Seconds since the epoch."""
    return sa.Column(name, Instant, nullable=null)


def data(name: str) -> sa.Column[Any]:
    """A small JSON value (details, lists of names); never queried inside."""
    return sa.Column(name, sa.JSON, nullable=True)


def address(name: str, *, null: bool = False) -> sa.Column[Any]:
    """An IP address as 16 sortable bytes."""
    return sa.Column(name, Address, nullable=null)


def life() -> list[sa.Column[Any]]:
    """Since when, and until when."""
    return [instant("created", null=False), instant("removed")]


def owner() -> list[sa.Column[Any]]:
    """Whose it is. `domain_path` is made of ids ("/1/4/"), so that renaming a domain changes no row."""
    return [
        ref("account_id", "account"),
        ref("domain_id", "domain"),
        sa.Column("domain_path", sa.String(255), nullable=False, index=True),
    ]


IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


@lru_cache(maxsize=16_384)
def pack_address(value: str | IpAddress) -> bytes:
    """16 bytes of an address."""
    parsed = ipaddress.ip_address(value)
    return (b"\0" * 10 + b"\xff\xff" + parsed.packed) if parsed.version == 4 else parsed.packed


MAPPED = b"\0" * 10 + b"\xff\xff"


@lru_cache(maxsize=16_384)  # lists of NICs call this for every address
def unpack_address(value: bytes) -> str:
    """The text of 16 bytes."""
    raw = bytes(value)
    # The parser costs 5 us, this 0.3.
    return socket.inet_ntoa(raw[12:]) if raw.startswith(MAPPED) else str(ipaddress.IPv6Address(raw))
