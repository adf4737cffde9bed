"""What has to be installed before anything of the demo is made: looked for first, told all at once, with its package.

`make demo` installs it; this is for who calls `sysvm demo` alone, or lost a package since. What a program then does is not
its business.
"""

import shutil

from sysvm.basics.errors import Refused, Why

EVERYWHERE = {"ip": "iproute2", "s6-svscan": "s6", "s6-log": "s6"}
"""Program -> package, for simulated hosts, too."""
ON_A_HOST = {
    "nft": "nftables",
    "lxc-start": "lxc",
    "lxc-console": "lxc",
    "libvirtd": "libvirt-daemon",
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "mkfs.ext4": "e2fsprogs",
    "conntrack": "conntrack",
}
_PLACES = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def check(*, simulated: bool, path: str | None) -> None:
    """Raises Refused with everything that is missing in `path` (PATH)."""
    wanted = EVERYWHERE if simulated else EVERYWHERE | ON_A_HOST
    missing = [program for program in wanted if shutil.which(program, path=path or _PLACES) is None]
    if missing:
        told = ", ".join(f"{program} (package {wanted[program]})" for program in missing)
        raise Refused(f"this machine lacks {told}: run `make packages` as root", Why.UNAVAILABLE)
