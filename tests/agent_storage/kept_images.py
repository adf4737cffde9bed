"""Image stores of both kinds, and images that are put into them without an agent."""

import hashlib
from pathlib import Path

from s3_server import Server
from storage_stage import raw

from sysvm.agent.roles.secstorage import kinds
from sysvm.agent.roles.secstorage.bucket import PART, BucketStore
from sysvm.agent.roles.secstorage.store import Image, ImageStore
from sysvm.basics.clock import SystemClock
from sysvm.wire.documents import Bucket, Store

NOW = SystemClock().now
LARGE = raw(2 * PART + 12345)  # three parts
UUID = "11111111-1111-4111-8111-111111111111"
OTHER = "22222222-2222-4222-8222-222222222222"


def opened(path: Path, bucket: Bucket | None = None) -> ImageStore:
    """A store in a folder, or in a bucket."""
    made = kinds.opened(Store(store="s", path=str(path), bucket=bucket), NOW)
    made.prepare()
    return made


def bucket_store(server: Server, path: Path, bucket: Bucket | None = None) -> BucketStore:
    """A store in a bucket of this server, a new one unless it is given."""
    made = opened(path, bucket or server.bucket())
    assert isinstance(made, BucketStore)
    return made


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def kept(store: ImageStore, data: bytes, image: str = UUID) -> Image:
    """The image is in the store."""
    folder = store.incoming(image)
    folder.mkdir()
    (folder / "data").write_bytes(data)
    made = Image(image=image, sha256=sha(data), size=len(data), virtual_size=len(data), format="RAW")
    store.keep(folder / "data", made.sha256)
    store.refer(made)
    store.drop_incoming(image)
    return made
