"""Image stores by kind: which providers there are, and how each one's url is read. A kind is a module beside this one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sysvm.api.rules import buckets, stores
from sysvm.api.rules.buckets import BucketPlace
from sysvm.basics.errors import Refused
from sysvm.wire.machines import Runtime
from sysvm.wire.nfs import parse_share

OTHERS = ("swift", "cifs", "smb", "samplestore", "scaleio")


@dataclass(frozen=True, slots=True)
class ImageStoreUrl:
    """Where an image store is. `place` is what no other store may be at: the url without its options."""

    protocol: str  # nfs | file | s3
    url: str
    place: str
    bucket: BucketPlace | None = None


@dataclass(frozen=True, slots=True)
class StoreKind:
    """A provider, as answers name it, and its urls."""

    provider: str
    read: Callable[[str | None, Mapping[str, str]], ImageStoreUrl]
    anew: frozenset[str]  # secondary storage VMs of these runtimes have to be started anew for one


def _nfs(url: str | None, _details: Mapping[str, str]) -> ImageStoreUrl:
    share = parse_share(_needed(url))
    return ImageStoreUrl("nfs", share.url, share.place)


def _directory(url: str | None, _details: Mapping[str, str]) -> ImageStoreUrl:
    path = stores.shared_directory(_needed(url))
    return ImageStoreUrl("file", f"file://{path}", f"file://{path}")


def _bucket(url: str | None, details: Mapping[str, str]) -> ImageStoreUrl:
    if url:
        raise Refused("An image store of provider S3 has no url: its details name endpoint and bucket")
    place = buckets.read(details)
    return ImageStoreUrl("s3", place.url, place.url, place)


def _needed(url: str | None) -> str:
    if not url:
        raise Refused("Unable to execute API command addimagestore due to missing parameter url")
    return url


KINDS = {
    "nfs": StoreKind("NFS", _nfs, frozenset({Runtime.CONTAINER})),
    "filesystem": StoreKind("Filesystem", _directory, frozenset(Runtime)),
    "s3": StoreKind("S3", _bucket, frozenset(Runtime)),
    "sysvmdirectory": StoreKind("SysvmDirectory", _directory, frozenset(Runtime)),
    "defaultlayer": StoreKind("Filesystem", _directory, frozenset(Runtime)),
}


def kind_of(provider: str) -> StoreKind:
    """The kind that a provider's name stands for."""
    name = provider.strip().lower()
    if name in OTHERS:
        raise Refused(f"Image stores of provider {provider} are not supported yet; use NFS, S3, or Filesystem with a directory")
    if name not in KINDS:
        raise Refused(f"There is no image store provider {provider!r}; use NFS, S3 or Filesystem")
    return KINDS[name]


def read(kind: StoreKind, url: str | None, details: Mapping[str, str]) -> ImageStoreUrl:
    """The place of an image store; its provider, url and details have to agree."""
    return kind.read(url, details)
