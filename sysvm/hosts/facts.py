"""What this host is and what its kernel can do, found out by trying: a module that is listed may still not load.

The probes run in a network namespace that ends with them. NFS is told by the kernel's list after an attempt to load it.
"""

import os
import platform
import re
import shutil
from pathlib import Path

from sysvm.hosts.driver import Capabilities
from sysvm.hosts.layout import Layout
from sysvm.hosts.system.commands import attempt
from sysvm.images.export import ORIGIN
from sysvm.wire.link import HostFacts

_FASTEST = Path("/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq")
_PROBES = {
    "esp": "ip xfrm state add src 192.0.2.1 dst 192.0.2.2 proto esp spi 1 mode tunnel"
    " auth 'hmac(sha1)' 0x0123456789012345678901234567890123456789 enc 'cbc(aes)' 0x01234567890123456789012345678901",
    "wireguard": "ip link add probe type wireguard",
    "vlan": "ip link add link lo name probe type vlan id 1",
    "flowtable": "ip link set lo up && nft 'add table inet p; add flowtable inet p f"
    " { hook ingress priority 0; devices = { lo }; }; add chain inet p c { type filter hook forward priority 0; };"
    " add rule inet p c meta l4proto tcp flow add @f'",
    "nfs": "modprobe -q nfs 2> /dev/null; grep -qw nfs4 /proc/filesystems",
}


async def probe_features() -> tuple[str, ...]:
    """The features that work here."""
    found = []
    for name, probe in _PROBES.items():
        outcome = await attempt("unshare", "--net", "sh", "-c", probe)
        if outcome.code == 0:
            found.append(name)
    return tuple(sorted(found))


async def gather(
    layout: Layout, name: str, underlay: str, features: tuple[str, ...], drivers: tuple[Capabilities, ...]
) -> HostFacts:
    """What the host says about itself at the beginning of a link."""
    disk = shutil.disk_usage(layout.host)
    kvm = next((each for each in drivers if each.hypervisor == "KVM"), None)
    return HostFacts(
        name=name,
        cpus=os.cpu_count() or 1,
        cpu_mhz=cpu_mhz(),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        kernel=platform.release(),
        hypervisors=tuple(each.hypervisor for each in drivers if each.usable),
        kvm=kvm is not None and kvm.accelerated,
        kvm_why="no KVM driver" if kvm is None else kvm.why,
        features=features,
        templates=templates(layout),
        registered=registered(layout),
        underlay=underlay.split("/")[0],
        disk_bytes=disk.total,
        disk_used=disk.used,
    )


def templates(layout: Layout) -> tuple[str, ...]:
    """Versions of the system VM template at hand that were built, the newest last."""
    return tuple(folder.name for folder in _folders(layout) if not (folder / ORIGIN).exists())


def registered(layout: Layout) -> tuple[str, ...]:
    """Versions that came as registered images."""
    return tuple(folder.name for folder in _folders(layout) if (folder / ORIGIN).exists())


def _folders(layout: Layout) -> list[Path]:
    roots = (layout.cache / "templates").glob("[!.]*/root")
    return sorted((root.parent for root in roots), key=lambda folder: folder.stat().st_mtime)


def boot_id() -> str:
    """A new one after each boot of the kernel."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def cpu_mhz() -> int:
    """The clock of its processors, at their best where the kernel says so."""
    try:
        return int(_FASTEST.read_text()) // 1000
    except (OSError, ValueError):
        found = re.search(r"^cpu MHz\s*: (\d+)", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        return int(found.group(1)) if found else 1000
