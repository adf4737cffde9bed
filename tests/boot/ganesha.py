"""A real NFS server in userspace, in a network namespace of its own: nfs-ganesha, serving a tmpfs by version 4 and 3.

For version 3 it wants a port mapper, which is its neighbour: both see a /run of their own, and end together.
"""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.boot.outside import Outside

APART = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c")
PROGRAM = "mount -t tmpfs sysvm-test /run && rpcbind -w && exec ganesha.nfsd -F -f {folder}/conf -L {folder}/log -p {folder}/pid"
MOUNT_PORT = 20048
CONFIG = """
NFS_CORE_PARAM {{
    Protocols = 3, 4; MNT_Port = {mount_port}; Mount_Path_Pseudo = true; Enable_NLM = false; Enable_RQUOTA = false;
}}
NFSV4 {{ Graceless = true; Minor_Versions = 0, 1, 2; Only_Numeric_Owners = true; RecoveryRoot = "{folder}/recovery"; }}
EXPORT {{
    Export_Id = 1; Path = "{share}"; Pseudo = "/export"; Access_Type = RW; Squash = No_Root_Squash; SecType = sys;
    Protocols = 3, 4; Transports = TCP; FSAL {{ Name = VFS; }}
}}
"""


@dataclass
class Ganesha:
    """The server; what it serves outlives it."""

    place: Outside
    folder: Path
    running: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def share(self) -> Path:
        """What is exported as /export."""
        return self.folder / "share"

    @property
    def url(self) -> str:
        """For addImageStore."""
        return f"nfs://{self.place.address}/export"

    def start(self) -> None:
        """It serves soon afterwards."""
        config = CONFIG.format(folder=self.folder, share=self.share, mount_port=MOUNT_PORT)
        (self.folder / "conf").write_text(config)
        self.running = self.place.spawn(self.place.outside, *APART, PROGRAM.format(folder=self.folder))

    def stop(self) -> None:
        """Killed: it takes leave of nobody."""
        if self.running is not None:
            self.running.kill()
            self.running.wait()
            self.running = None


@contextmanager
def serving(place: Outside, folder: Path) -> Iterator[Ganesha]:
    """An NFS server in the namespace; gone afterwards, with what it had."""
    made = Ganesha(place, folder)
    for name in ("share", "recovery"):
        (folder / name).mkdir()
    # What it exports has to be a file system of its own: it finds its exports in the list of mounts.
    subprocess.run(("mount", "-t", "tmpfs", "-o", "size=1g,mode=755", "sysvm-test", str(made.share)), check=True)
    try:
        made.start()
        yield made
    finally:
        made.stop()
        subprocess.run(("umount", "--lazy", str(made.share)), check=True)
