"""What compute, system and disk offerings may say."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sysvm.basics.errors import Refused

SYSTEM_TYPES = ("domainrouter", "consoleproxy", "secondarystoragevm", "internalloadbalancervm")
STORAGE_TYPES = ("shared", "local")
PROVISIONING = ("thin", "sparse", "fat")
SMALLEST_MB, LARGEST = 32, 2**31 - 1
LARGEST_DISK_GB = 1024 * 64
GIB = 1024**3
DISK_LIMITS = tuple(f"{unit}{way}rate" for unit in ("bytes", "iops") for way in ("read", "write"))
LARGEST_LIMIT = 10**15  # QEMU's


@dataclass(frozen=True, slots=True)
class Compute:
    """CPU and memory; None where the machine says it."""

    cpus: int | None
    mhz: int | None
    memory_mb: int | None
    limits: dict[str, str]


def system_vm_type(text: str | None) -> str:
    """The kind of system VM that an offering is for."""
    wanted = (text or "domainrouter").strip().lower()
    if wanted not in SYSTEM_TYPES:
        raise Refused(f"Invalid systemVmType. Supported types are: {', '.join(SYSTEM_TYPES)}")
    return wanted


def compute(given: Mapping[str, Any], *, system: bool) -> Compute:
    """Fixed sizes, or (customized) what a machine may choose."""
    sizes = {name: given.get(name) for name in ("cpunumber", "cpuspeed", "memory")}
    customized = given.get("customized")
    if customized is None:
        customized = not system and all(value is None for value in sizes.values())
    if customized:
        return _customized(given, sizes, system=system)
    for name, least in (("cpunumber", 1), ("cpuspeed", 0), ("memory", SMALLEST_MB)):
        value = sizes[name]
        if value is None or not least <= value <= LARGEST:
            raise Refused(
                f"Failed to create service offering: specify the {name} value between {least} and {LARGEST}"
                + (" MB" if name == "memory" else "")
            )
    return Compute(sizes["cpunumber"], sizes["cpuspeed"], sizes["memory"], {})


def _customized(given: Mapping[str, Any], sizes: Mapping[str, int | None], *, system: bool) -> Compute:
    if system:
        raise Refused("A system offering can't be customized: give cpunumber, cpuspeed and memory")
    if sizes["cpunumber"] is not None or sizes["memory"] is not None:
        raise Refused("For custom compute offerings cpunumber and memory can't be given; use min and max of them")
    limits: dict[str, str] = {}
    for low, high, least in (("mincpunumber", "maxcpunumber", 1), ("minmemory", "maxmemory", SMALLEST_MB)):
        begin, end = given.get(low), given.get(high)
        if (begin is None) != (end is None):
            raise Refused(f"Give both {low} and {high}, or none")
        if begin is not None and end is not None:
            if not least <= begin <= end:
                raise Refused(f"{low} must be at least {least} and not more than {high}")
            limits |= {low: str(begin), high: str(end)}
    return Compute(None, sizes["cpuspeed"], None, limits)


def network_rate(value: int | None, *, system: bool, kind: str) -> int | None:
    """Mbit/s; of system offerings only routers have one."""
    if value is None:
        return None
    if system and kind != "domainrouter":
        raise Refused(
            'Network rate can be specified only for non-System offering and system offerings having "domainrouter" systemvmtype'
        )
    if value < 0:
        raise Refused("Failed to create service offering: specify the network rate value more than 0")
    return value


def storage_type(text: str | None) -> str:
    """shared or local."""
    wanted = (text or "shared").strip().lower()
    if wanted not in STORAGE_TYPES:
        raise Refused(f"Invalid storage type {text} specified, valid types are: 'local' and 'shared'")
    return wanted


def provisioning_type(text: str | None) -> str:
    """thin, sparse or fat."""
    wanted = (text or "thin").strip().lower()
    if wanted not in PROVISIONING:
        raise Refused(f"The provisioning type {text!r} is not one of {', '.join(PROVISIONING)}")
    return wanted


def refuse_unsupported(given: Mapping[str, Any], *, system: bool = False) -> None:
    """Guaranteed speed of disks, encryption and the like are not there, so they are not accepted either."""
    if system and (given.get("customizediops") or given.get("miniops") or given.get("maxiops")):
        raise Refused("Custom IOPS and snapshot reserve are not allowed for system offerings")
    if system and given.get("hypervisorsnapshotreserve"):
        raise Refused("Custom IOPS and snapshot reserve are not allowed for system offerings")
    for name in ("customizediops", "miniops", "maxiops", "hypervisorsnapshotreserve"):
        if given.get(name):
            raise Refused(f"Primary storage guarantees no speed: leave {name} out; iopsreadrate and the like are limits")
    for name in ("encryptroot", "encrypt", "storagepolicy", "diskofferingid"):
        if given.get(name):
            raise Refused(f"The parameter {name} is not supported yet: leave it out")
    if str(given.get("cachemode") or "none").lower() != "none":
        raise Refused("The cache mode of disks is none; others are not supported")


def disk_limits(given: Mapping[str, Any]) -> dict[str, int]:
    """How fast disks may be, by parameter; what is not limited is left out."""
    found: dict[str, int] = {}
    for name in DISK_LIMITS:
        most, peak, seconds = (int(given.get(f"{name}{tail}") or 0) for tail in ("", "max", "maxlength"))
        if min(most, peak, seconds) < 0 or max(most, peak, seconds) > LARGEST_LIMIT:
            raise Refused(f"{name} and what belongs to it are numbers from 0 (no limit) to {LARGEST_LIMIT}")
        if peak and not most:
            raise Refused(f"{name}max says how far {name} may be overstepped: give {name}, too")
        if peak and peak < most:
            raise Refused(f"{name}max ({peak}) is less than {name} ({most})")
        if seconds and not peak:
            raise Refused(f"{name}maxlength says for how many seconds {name}max holds: give {name}max, too")
        found |= {name: most, f"{name}max": peak, f"{name}maxlength": seconds}
    return {name: value for name, value in found.items() if value}


def disk_bytes(gigabytes: int | None, *, what: str) -> int:
    """A size in GB as bytes; 0 when not given."""
    if gigabytes is None:
        return 0
    if not 0 <= gigabytes <= LARGEST_DISK_GB:
        raise Refused(f"Please specify the {what} as a number of GB from 1 to {LARGEST_DISK_GB}")
    return gigabytes * GIB
