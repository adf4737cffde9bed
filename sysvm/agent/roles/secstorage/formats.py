"""Is an image what it is said to be? Pure but for reading headers through `at`.

A RAW disk has no mark of its own, so everything that has another format's mark is refused as RAW: a host that guesses would
take a QCOW2 inside "RAW" for one, with its backing file and all.
"""

from collections.abc import Callable

from sysvm.agent.roles.secstorage import disks, qcow2
from sysvm.agent.roles.secstorage.disks import At
from sysvm.basics.errors import Refused

_MARKS: dict[bytes, str] = {
    qcow2.MAGIC: "a QCOW2 image",
    b"KDMV": "a VMDK image",
    b"# Disk Descri": "a VMDK description",
    b"<!doctype": "a web page",
    b"<html": "a web page",
}


def _qcow2(at: At, size: int) -> int:
    return qcow2.virtual_size(at(0, qcow2.HEAD), size)


def _raw(at: At, size: int) -> int:
    head = at(0, disks.SECTOR)
    if not head:
        raise Refused("the image is empty")
    if (what := _mark(head) or _packed(head)) is not None:
        raise Refused(f"this is {what}, not a RAW disk: register it with its own format")
    return -(-size // disks.SECTOR) * disks.SECTOR


def _mark(head: bytes) -> str | None:
    start = head.lstrip().lower()
    return next((what for mark, what in _MARKS.items() if head.startswith(mark) or start.startswith(mark)), None)


def _packed(head: bytes) -> str | None:
    packing = disks.packing_of(head)
    return f"a {packing} archive" if packing else None


FORMATS: dict[str, Callable[[At, int], int]] = {
    "QCOW2": _qcow2,
    "RAW": _raw,
    "ISO": disks.iso,
    "TAR": disks.tar,
    "VMDK": disks.vmdk,
    "VHD": disks.vhd,
    "OVA": disks.ova,
}


def known_format(name: str) -> str:
    """The format's one spelling; raises Refused when it is not known."""
    if name.upper() not in FORMATS:
        raise Refused(f"format {name[:20]!r} is not known: one of {', '.join(FORMATS)}")
    return name.upper()


def virtual_size(name: str, at: At, size: int) -> int:
    """The size of the disk that is in the image; raises Refused when the image is not what `name` says."""
    return FORMATS[name](at, size)
