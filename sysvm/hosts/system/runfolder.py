"""The runtime folder: a tmpfs of its own, so that no state key ever reaches a disk, wherever /run is.

Others may walk through it (containers' root users do) but not read it.
"""

from sysvm.hosts.layout import Layout
from sysvm.hosts.system import mounts


def ensure_run_folder(layout: Layout) -> None:
    """It exists; what is in it is left as it is."""
    layout.run.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    layout.run.mkdir(exist_ok=True, mode=0o711)
    # A folder with something in it was made by somebody who was earlier: a mount would hide it.
    if not mounts.is_mounted(layout.run) and not any(layout.run.iterdir()):
        mounts.tmpfs(layout.run, "mode=711,size=64m")
    for name in ("boot", "chan", "lxc", "ns", "stage"):
        (layout.run / name).mkdir(exist_ok=True, mode=0o711)
