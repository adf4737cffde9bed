"""Templates and ISOs: what their URLs, formats and checksums may be, and how a download is told to its owner.

A URL is only parsed here. Whether its address is private, and what it redirects to, is checked where it is fetched.
"""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from sysvm.basics.errors import Refused, Why
from sysvm.wire.nfs import parse_share

FORMATS = {
    "KVM": ("QCOW2", "RAW", "VHD", "VHDX", "VMDK"),
    "LXC": ("TAR",),
    "Simulator": ("QCOW2", "RAW", "VHD", "VHDX", "VMDK", "OVA", "TAR"),
    "VMware": ("OVA",),
}
SCHEMES = ("http", "https", "ftp", "sftp", "nfs", "file")
OF_ROOT = ("nfs", "file")  # what only a root admin may name: his own files, and servers that a kernel shall trust
WITH_LOGIN = ("ftp", "sftp")
ARCHIVES = (".gz", ".bz2", ".zip", ".xz", ".zst")
ENDINGS = {
    "QCOW2": (".qcow2", ".img"), "RAW": (".img", ".raw"), "VHD": (".vhd",), "VHDX": (".vhdx",), "VMDK": (".vmdk",),
    "OVA": (".ova",), "TAR": (".tar", ".tgz", ".tbz2", ".txz"), "ISO": (".iso",),
}  # fmt: skip
DIGESTS = {32: "MD5", 40: "SHA-1", 56: "SHA-224", 64: "SHA-256", 96: "SHA-384", 128: "SHA-512"}
_algorithm = re.compile(r"\{([A-Za-z0-9-]+)\}(.*)", re.DOTALL)
KINDS = ("USER", "ROUTING", "SYSTEM", "BUILTIN", "PERHOST", "VNF")
FILTERS = ("featured", "self", "selfexecutable", "sharedexecutable", "executable", "community", "all", "shared")


@dataclass(frozen=True, slots=True)
class Copy:
    """One copy of an image, as far as it is."""

    state: str
    progress: float
    error: str


def image_format(text: str, hypervisor: str) -> str:
    """The format's name, if the hypervisor can use it."""
    wanted = text.strip().upper()
    allowed = FORMATS[hypervisor]
    if wanted not in allowed:
        raise Refused(f"The format {text} is not one of hypervisor {hypervisor}; it takes {', '.join(allowed)}")
    return wanted


def url(text: str, format_: str, *, root: bool) -> str:
    """The URL of an image. `root`: who asks is a root admin and may name files of the import folder."""
    if any(ord(char) < 33 or ord(char) == 127 for char in text.strip()):
        raise Refused("The url holds blanks or control characters")
    parts = urlsplit(text.strip())
    scheme = parts.scheme.lower()
    if scheme not in SCHEMES:
        raise Refused(f"The url {text!r} is not understood; give http, https, ftp, sftp or (root admin only) nfs or file")
    if (parts.username is not None or parts.password is not None) and scheme not in WITH_LOGIN:
        raise Refused("A url must not hold credentials, but of ftp and sftp")
    if scheme in OF_ROOT and not root:
        raise Refused(f"Only a root admin may register from {scheme}://", Why.NOT_ALLOWED)
    if scheme == "nfs":
        parse_share(text.strip())
    if scheme != "file" and not _valid_host(parts.hostname, text):
        raise Refused(f"The url {text!r} names no server")
    if scheme == "file" and (parts.hostname not in (None, "localhost") or ".." in parts.path.split("/")):
        raise Refused("A file url must look like file:///<path in the import folder>")
    _ending(parts.path.lower(), format_)
    return text.strip()


def _valid_host(host: str | None, text: str) -> bool:
    try:
        _ = urlsplit(text).port
    except ValueError:
        return False
    return bool(host) and not any(char in (host or "") for char in "\\|^`<>\"' ")


def _ending(path: str, format_: str) -> None:
    """An ending that names another format is a mistake; one that names none is looked at after the download."""
    bare = path
    for archive in ARCHIVES:
        bare = bare.removesuffix(archive)
    known = {ending for endings in ENDINGS.values() for ending in endings}
    ending = next((one for one in known if bare.endswith(one)), None)
    if ending is not None and ending not in ENDINGS[format_]:
        raise Refused(f"Please specify a valid {format_.lower()}: the url ends in {ending}")


def checksum(text: str | None) -> str:
    """ "{SHA-256}<hex>" or plain MD5 hex, lower case, as it is stored; empty when not given."""
    if not text or not text.strip():
        return ""
    match = _algorithm.fullmatch(text.strip())
    name, digits = (match[1].upper(), match[2]) if match else ("", text.strip())
    digits = digits.strip().lower()
    kind = DIGESTS.get(len(digits)) if re.fullmatch("[0-9a-f]+", digits) else None
    if name and name.replace("-", "") != (kind or "").replace("-", ""):
        raise Refused(f"The checksum {text!r} is not one of {{{name}}}; give {{SHA-256}} and its 64 hex digits")
    if kind is None:
        raise Refused(f"The checksum {text!r} is no MD5, {{SHA-1}}, {{SHA-256}} or {{SHA-512}} in hex digits")
    return f"{{{kind}}}{digits}" if kind != "MD5" or name else digits


def kind(text: str | None, isrouting: bool | None, *, root: bool) -> str:
    """USER, or what a root admin says."""
    wanted = (text or ("ROUTING" if isrouting else "USER")).strip().upper()
    if wanted not in KINDS:
        raise Refused(f"The template type {text!r} is unknown; it is one of {', '.join(KINDS)}")
    if wanted != "USER" and not root:
        raise Refused(f"Only a root admin may register a template of type {wanted}", Why.NOT_ALLOWED)
    return wanted


def status(copy: Copy) -> str:
    """The words that a template's owner reads about its download."""
    if copy.error:
        return copy.error
    if copy.state == "DOWNLOADED":
        return "Download Complete"
    if copy.state == "BYPASSED":
        return "Bypassed Secondary Storage"
    if copy.state in ("UPLOADED", "UPLOAD_IN_PROGRESS"):
        return "Installing Template" if copy.state == "UPLOADED" else f"{int(copy.progress)}% Uploaded"
    if copy.state == "DOWNLOAD_IN_PROGRESS":
        return "Installing Template" if copy.progress >= 100 else f"{int(copy.progress)}% Downloaded"
    return "Processing"


def ready(copy: Copy) -> bool:
    """Whether machines can be made from it."""
    return copy.state in ("DOWNLOADED", "BYPASSED") and not copy.error
