"""Image stores by kind: which providers there are, and how each one's url is read. A kind is a module beside this one."""

from collections.abc import Callable
from dataclasses import dataclass

from sysvm.api.rules import stores
from sysvm.basics.errors import Refused
from sysvm.wire.machines import Runtime
from sysvm.wire.nfs import parse_share

OTHERS = ("s3", "swift", "cifs", "smb", "samplestore", "scaleio")


@dataclass(frozen=True, slots=True)
class ImageStoreUrl:
    """Where an image store is. `place` is what no other store may be at: the url without its options."""

    protocol: str  # nfs | file
    url: str
    place: str


@dataclass(frozen=True, slots=True)
class StoreKind:
    """A provider, as answers name it, and its urls."""

    provider: str
    read: Callable[[str], ImageStoreUrl]
    anew: frozenset[str]  # secondary storage VMs of these runtimes have to be started anew for one


def _nfs(url: str) -> ImageStoreUrl:
    share = parse_share(url)
    return ImageStoreUrl("nfs", share.url, share.place)


def _directory(url: str) -> ImageStoreUrl:
    path = stores.shared_directory(url)
    return ImageStoreUrl("file", f"file://{path}", f"file://{path}")


KINDS = {
    "nfs": StoreKind("NFS", _nfs, frozenset({Runtime.CONTAINER})),
    "filesystem": StoreKind("Filesystem", _directory, frozenset(Runtime)),
    "sysvmdirectory": StoreKind("SysvmDirectory", _directory, frozenset(Runtime)),
    "defaultlayer": StoreKind("Filesystem", _directory, frozenset(Runtime)),
}


def kind_of(provider: str) -> StoreKind:
    """The kind that a provider's name stands for."""
    name = provider.strip().lower()
    if name in OTHERS:
        raise Refused(
            f"Image stores of provider {provider} are not supported yet; use NFS, or Filesystem with a directory"
        )
    if name not in KINDS:
        raise Refused(f"There is no image store provider {provider!r}; use NFS or Filesystem")
    return KINDS[name]


def read(kind: StoreKind, url: str | None) -> ImageStoreUrl:
    """The place of an image store; its provider and url have to agree."""
    if not url:
        raise Refused("Unable to execute API command addimagestore due to missing parameter url")
    return kind.read(url)
