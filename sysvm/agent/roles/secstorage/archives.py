"""Archives that the server brings itself: a few megabytes, kept like an image, so that the same links lead to them."""

import hashlib

from sysvm.agent.roles.secstorage.store import Image, ImageStore
from sysvm.basics.errors import Refused
from sysvm.wire.channel import Downloaded
from sysvm.wire.collecting import MOST, KeepArchive


def keep(store: ImageStore, body: KeepArchive) -> Downloaded:
    """The bytes are in the store afterwards. Raises Refused where they cannot be."""
    size, sha256 = len(body.archive), hashlib.sha256(body.archive).hexdigest()
    if size > MOST:
        raise Refused(f"an archive has at most {MOST} bytes, this one {size}")
    try:
        store.prepare()
        folder = store.incoming(body.image)
        folder.mkdir(exist_ok=True)
        (folder / "data").write_bytes(body.archive)
        store.keep(folder / "data", sha256)
        store.refer(Image(image=body.image, sha256=sha256, size=size, virtual_size=size, format="ZIP"))
        store.drop_incoming(body.image)
    except OSError as error:
        raise Refused(f"the image store cannot be written: {error.strerror}") from error
    return Downloaded(sha256=sha256, size=size, virtual_size=size, format="ZIP")
