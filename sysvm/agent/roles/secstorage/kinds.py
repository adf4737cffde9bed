"""What kind of image store a document speaks of, in one place: who keeps its bytes, and what else there is to look at.

directory   the host mounts it at `path`
nfs         this machine mounts it there (`mounting.py`); from then on it is a directory
bucket      an S3 server has the bytes; what the host mounts at `path` is where they wait until they are whole
"""

from collections.abc import Callable
from pathlib import Path

import msgspec

from sysvm.agent.roles.secstorage.bucket import BucketStore
from sysvm.agent.roles.secstorage.health import Look
from sysvm.agent.roles.secstorage.s3 import S3, BucketFailed
from sysvm.agent.roles.secstorage.store import ImageStore
from sysvm.wire.documents import Store
from sysvm.wire.machines import ServiceFault

LOOK_S = 5.0


def opened(store: Store, now: Callable[[], float]) -> ImageStore:
    """The store, to be read and written. Nothing of it is touched."""
    if store.bucket is None:
        return ImageStore(Path(store.path))
    return BucketStore(Path(store.path), S3(store.bucket, now))


def folder_of(store: Store) -> Store:
    """What is mounted at its path, as a store of its own."""
    return msgspec.structs.replace(store, bucket=None)


def looked(store: Store, seen: Look, now: Callable[[], float]) -> Look:
    """What there is to see of it beyond its folder."""
    if store.bucket is None:
        return seen
    if seen.fault is not None:
        why = f"the folder in which images wait for bucket {store.bucket.name}: {seen.fault.why}"
        return Look(msgspec.structs.replace(seen.fault, why=why))
    try:
        S3(store.bucket, now, silence_s=LOOK_S).look()
    except BucketFailed as error:
        why = f"bucket {store.bucket.name} of {store.bucket.url} cannot be used: {error.strerror}"
        remedy = "look at the S3 server, at the bucket and at the rights of the store's key"
        return Look(ServiceFault(service=f"store {store.store}", why=why, remedy=remedy))
    return Look()  # a bucket does not say how large it is
