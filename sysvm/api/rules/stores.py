"""URLs of storage that is a directory: what they mean and which ones work here.

Primary storage is a directory on one host. Image stores are of several kinds (`image_stores.py`), of which one is a directory.
"""

import posixpath
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from sysvm.basics.errors import Refused
from sysvm.wire.nfs import parse_share

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
        raise Refused(f"The url {url!r} is not understood; primary storage is a directory of a host: file://<host>/<path>")
    _no_credentials(parts.username, parts.password)
    host = "" if (parts.hostname or "") in ("localhost", "127.0.0.1") else parts.hostname or ""
    return Directory(host, _path(unquote(parts.path)))


def shared(url: str) -> Share | None:
    """nfs://server/export, for simulated hosts; None for another kind of url."""
    if urlsplit(url).scheme.lower() != "nfs":
        return None
    found = parse_share(url)
    return Share(found.url, found.server, found.path)


def shared_directory(url: str) -> str:
    """file:///path or a path, of an image store: every host of the zone has it."""
    _printable(url)
    parts = urlsplit(url)
    _no_credentials(parts.username, parts.password)
    if parts.scheme.lower() not in ("", "file") or (not parts.scheme and not url.startswith("/")):
        raise Refused(f"The url of a Filesystem image store must be file:///path or a path; {url!r} is neither")
    if parts.hostname not in (None, "localhost"):
        raise Refused("A Filesystem image store is a directory that every host of the zone has: file:///path without a host")
    return _path(unquote(parts.path))


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
