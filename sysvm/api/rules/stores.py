"""URLs of primary and secondary storage: what they mean and which ones work here.

Primary storage is a directory on one host; an image store is NFS or a directory that the hosts of a zone share.
"""

import posixpath
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from sysvm.basics.errors import Refused

DIRECTORY_SCHEMES = ("file", "filesystem", "localhost")
FORBIDDEN_PATHS = (
    "/",
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/lib",
    "/lib64",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/sys",
    "/usr",
)
OTHER_POOLS = {
    "nfs": "NFS", "sharedmountpoint": "a shared mount point", "rbd": "Ceph RBD", "iscsi": "iSCSI", "clvm": "CLVM",
    "vmfs": "VMFS", "presetup": "a pre-set-up pool", "gluster": "GlusterFS", "lustre": "Lustre", "linstor": "LINSTOR",
}  # fmt: skip
OBJECT_STORES = ("s3", "swift", "cifs", "smb", "samplestore", "scaleio")


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory on a host; an empty `host` is the only one there is."""

    host: str
    path: str


@dataclass(frozen=True, slots=True)
class Share:
    """What simulated hosts take for shared storage: nobody mounts it."""

    url: str
    server: str
    path: str


@dataclass(frozen=True, slots=True)
class ImageStoreUrl:
    """Where an image store is."""

    protocol: str  # nfs | file
    url: str
    host: str
    path: str


def primary(url: str) -> Directory:
    """file:///path, file://host/path, filesystem://host/path or a plain path."""
    _printable(url)
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    if not scheme and url.startswith("/"):
        return Directory("", _path(url))
    if scheme in OTHER_POOLS:
        raise Refused(
            f"Primary storage on {OTHER_POOLS[scheme]} is not supported yet; give a directory of one host: "
            "url=file://<host>/<path> with scope HOST or CLUSTER"
        )
    if scheme not in DIRECTORY_SCHEMES:
        raise Refused(
            f"The url {url!r} is not understood; primary storage is a directory of a host: file://<host>/<path>"
        )
    _no_credentials(parts.username, parts.password)
    host = "" if (parts.hostname or "") in ("localhost", "127.0.0.1") else parts.hostname or ""
    return Directory(host, _path(unquote(parts.path)))


def shared(url: str) -> Share | None:
    """nfs://server/export, for simulated hosts; None for another kind of url."""
    _printable(url)
    parts = urlsplit(url)
    if parts.scheme.lower() != "nfs":
        return None
    _no_credentials(parts.username, parts.password)
    found = _nfs(url, "nfs", parts.hostname, parts.path)
    return Share(found.url, found.host, found.path)


def image_store(provider: str, url: str | None) -> ImageStoreUrl:
    """The place of an image store; its provider and url have to agree."""
    kind = provider.strip().lower()
    if kind in OBJECT_STORES:
        raise Refused(
            f"Image stores of provider {provider} are not supported yet; use NFS, or Filesystem with a directory"
        )
    if kind not in ("nfs", "filesystem", "sysvmdirectory", "defaultlayer"):
        raise Refused(f"There is no image store provider {provider!r}; use NFS or Filesystem")
    if not url:
        raise Refused("Unable to execute API command addimagestore due to missing parameter url")
    _printable(url)
    parts = urlsplit(url)
    _no_credentials(parts.username, parts.password)
    if kind == "nfs":
        return _nfs(url, parts.scheme.lower(), parts.hostname, parts.path)
    if parts.scheme.lower() not in ("", "file") or (not parts.scheme and not url.startswith("/")):
        raise Refused(f"The url of a Filesystem image store must be file:///path or a path; {url!r} is neither")
    if parts.hostname not in (None, "localhost"):
        raise Refused(
            "A Filesystem image store is a directory that every host of the zone has: file:///path without a host"
        )
    path = _path(unquote(parts.path))
    return ImageStoreUrl("file", f"file://{path}", "", path)


def _nfs(url: str, scheme: str, host: str | None, path: str) -> ImageStoreUrl:
    if scheme != "nfs" or not host:
        raise Refused(f"The url of an NFS share must look like nfs://<server>/<export>; {url!r} does not")
    clean = posixpath.normpath(unquote(path)) if path else ""
    if not clean.startswith("/") or clean == "/":
        raise Refused(f"The url {url!r} names no export: nfs://<server>/<export>")
    return ImageStoreUrl("nfs", f"nfs://{host}{clean}", host, clean)


def _path(text: str) -> str:
    if not text.startswith("/"):
        raise Refused(f"The path {text!r} must be absolute, beginning with /")
    if ".." in text.split("/"):
        raise Refused(f"The path {text!r} must not go upward with ..")
    clean = posixpath.normpath("/" + text.lstrip("/"))
    if clean in FORBIDDEN_PATHS or clean.startswith(("/proc/", "/sys/", "/dev/")):
        raise Refused(f"The path {clean} belongs to the system; give a directory of its own")
    return clean


def _printable(text: str) -> None:
    if any(ord(char) < 32 or ord(char) == 127 for char in text):
        raise Refused("The url holds control characters")


def _no_credentials(user: str | None, password: str | None) -> None:
    if user is not None or password is not None:
        raise Refused("A url must not hold credentials")
