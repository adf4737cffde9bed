"""Which image stores can be used: those that a host can hand to a secondary storage VM as a directory."""

from typing import Any

import sqlalchemy as sa

from sysvm.store import tables

WHY_NFS = (
    "no host of this release mounts NFS. Mount the export at the same directory of every host of the zone, and add that "
    "directory with provider=Filesystem and url=file:///directory"
)


def usable() -> sa.ColumnElement[Any]:
    """A condition on `image_store`: it is a directory."""
    return sa.not_(tables.image_store.c.url.startswith("nfs:"))


def why_not(url: str) -> str:
    """Why a store cannot be used; empty when it can."""
    return WHY_NFS if url.startswith("nfs:") else ""
