"""What a new guest may be: size, user data, disks. Pure; raises Refused with what to change."""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sysvm.basics.errors import Refused

MOST_USERDATA = 1048576  # bytes, encoded
GIB = 1 << 30
LARGEST_DISK_GIB = 65536
SIZES = ("cpuNumber", "cpuSpeed", "memory")
KEYBOARD = "keyboard"  # the detail that says which keyboard the guest has; the console page's names for layouts
KEYBOARDS = (
    "us", "uk", "de", "de-ch", "dk", "es", "fi", "fr", "fr-be", "fr-ch", "is", "it", "jp", "nl-be", "no", "pt", "pt-br", "sc",
    "se",
)  # fmt: skip
_mac = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


@dataclass(frozen=True, slots=True)
class Size:
    """CPUs and memory of a guest; None: its offering's."""

    cpus: int | None = None
    cpu_mhz: int | None = None
    memory_mb: int | None = None


def size(offering: Any, details: Mapping[str, str]) -> Size:
    """What a custom offering leaves open comes from the details; a fixed one leaves nothing open."""
    given = {name: value for name, value in details.items() if name in SIZES}
    if not offering.customized:
        if given:
            raise Refused(f"Service offering {offering.name} is not a custom one: {', '.join(given)} can't be specified")
        return Size()
    return Size(
        cpus=None if offering.cpus else _number(given, "cpuNumber", "CPU cores", 1),
        cpu_mhz=None if offering.cpu_mhz else (_number(given, "cpuSpeed", "CPU speed", 1) if "cpuSpeed" in given else 500),
        memory_mb=None if offering.memory_mb else _number(given, "memory", "memory", 32),
    )


def keyboard(text: str) -> dict[str, str]:
    """The details that keep it."""
    if not text:
        return {}
    if text.lower() not in KEYBOARDS:
        raise Refused(f"Unknown keyboard {text}; use one of {', '.join(KEYBOARDS)}")
    return {KEYBOARD: text.lower()}


def _number(given: Mapping[str, str], name: str, word: str, least: int) -> int:
    text = given.get(name, "")
    if not text.isdigit() or not least <= int(text) <= 2147483647:
        raise Refused(f"Invalid {word} value, specify a value between {least} and 2147483647 in details[0].{name}")
    return int(text)


def user_data(text: str | None) -> str:
    """Base64 that was checked; clients send it with line ends and sometimes URL-encoded twice."""
    if not text:
        return ""
    plain = re.sub(r"\s", "", text.replace("%3D", "=").replace("%3d", "="))
    if len(plain) > MOST_USERDATA:
        raise Refused(f"User data has exceeded the allowed size of {MOST_USERDATA} bytes, encoded")
    try:
        decoded = base64.b64decode(plain, validate=True)
    except binascii.Error:
        raise Refused("User data needs to be base64 encoded.") from None
    if not decoded:
        raise Refused("User data is too short.")
    return plain


def mac(text: str) -> str:
    """A unicast MAC address in its usual form."""
    value = text.strip().lower().replace("-", ":")
    if not _mac.fullmatch(value) or int(value[:2], 16) & 1 or value == "00:00:00:00:00:00":
        raise Refused(f"Mac address is not valid: {text}")
    return value


def root_bytes(template: Any, offering: Any, wanted_gib: int | None) -> int:
    """The root disk's size: as asked, else the offering's, else the template's."""
    least = template.virtual_bytes or 0
    if wanted_gib is None:
        return int(max(offering.root_disk_bytes or 0, least))
    if not 1 <= wanted_gib <= LARGEST_DISK_GIB:
        raise Refused(f"Root disk size should be a positive number of GB, at most {LARGEST_DISK_GIB}")
    if wanted_gib * GIB < least:
        raise Refused(f"rootdisksize {wanted_gib} GB is smaller than the template's {-(-least // GIB)} GB")
    return wanted_gib * GIB


def disk_bytes(offering: Any, wanted_gib: int | None) -> int:
    """A disk's size by its offering; a custom one leaves it open."""
    if not offering.customized:
        if wanted_gib is not None:
            raise Refused(f"Disk offering {offering.name} is not a custom one: size can't be specified")
        return int(offering.size_bytes)
    if wanted_gib is None or not 1 <= wanted_gib <= LARGEST_DISK_GIB:
        raise Refused(f"Disk offering {offering.name} requires size parameter: 1 to {LARGEST_DISK_GIB} GB")
    return wanted_gib * GIB
