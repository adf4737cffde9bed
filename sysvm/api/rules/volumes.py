"""What volumes, snapshots and policies may be. Pure; raises Refused with what to change."""

from collections.abc import Collection
from typing import Any

from sysvm.api.rules.guests import GIB, LARGEST_DISK_GIB
from sysvm.basics.errors import Refused
from sysvm.systemvms.schedules import Interval

MOST_DATA_DISKS = 14  # a guest's controller has no room for more
CDROM_DEVICE = 3
DEVICES = tuple(number for number in range(1, MOST_DATA_DISKS + 2) if number != CDROM_DEVICE)
MADE = ("Allocated", "Ready")
ATTACHABLE = (*MADE, "Uploaded")
UPLOADS = ("QCOW2", "RAW", "VHD")  # what hosts make volumes of
QUIET = ("Running", "Stopped")


def device(wanted: int | None, used: Collection[int]) -> int:
    """The device number of a data disk: the wanted one, or the first that is free."""
    if wanted is None:
        free = next((number for number in DEVICES if number not in used), None)
        if free is None:
            raise Refused(f"The specified VM already has the maximum number of data disks ({MOST_DATA_DISKS}) attached.")
        return free
    if wanted not in DEVICES:
        raise Refused(f"deviceId should be one of {', '.join(map(str, DEVICES))}: 0 is the root disk, 3 the drive")
    if wanted in used:
        raise Refused(f"deviceId {wanted} is used by vm: another volume has it")
    return wanted


def upload_format(text: str) -> str:
    """The format's name, if a volume can be made of it."""
    wanted = text.strip().upper()
    if wanted not in UPLOADS:
        raise Refused(f"A volume is uploaded as {', '.join(UPLOADS)}, not as {text}")
    return wanted


def new_size(volume: Any, offering: Any, wanted_gib: int | None, *, new_offering: bool) -> int:
    """The size that resizeVolume leads to; `offering` is the volume's own, or the one that it changes to."""
    if wanted_gib is not None and not 1 <= wanted_gib <= LARGEST_DISK_GIB:
        raise Refused(f"Invalid size: 1 to {LARGEST_DISK_GIB} GB")
    fixed = offering is not None and not offering.customized and volume.type != "ROOT"
    if fixed and not new_offering:
        raise Refused("To change a volume's size without providing a new disk offering, its current disk offering must be"
                      " customizable or it must be a root volume")  # fmt: skip
    if fixed:
        size = int(offering.size_bytes)
    elif wanted_gib is None:
        raise Refused("Please give the new size in GB with size")
    else:
        size = wanted_gib * GIB
    if size < volume.size_bytes:
        raise Refused(
            f"Going from existing size of {volume.size_bytes} to size of {size} would shrink the volume: volumes can only grow"
        )
    return size


def interval(text: str) -> Interval:
    """The interval of a policy."""
    found = next((one for one in Interval if one.name == text.strip().upper()), None)
    if found is None:
        raise Refused(f"Unsupported interval type {text}: it is one of {', '.join(one.name for one in Interval)}")
    return found


def kept(wanted: int, most: int, what: Interval) -> int:
    """How many snapshots a policy keeps."""
    if not 1 <= wanted <= most:
        raise Refused(f"maxSnaps exceeds limit: {most} for interval type: {what.name}, and is 1 at least")
    return wanted
