"""Whose a machine's files are: each VM's QEMU runs as a user of its own, who owns that machine's files and no others.

    disks, state, boot data, sockets     the VM's user, 0600
    templates, images, ISOs, kernels     root's, readable to whoever can name them; folders of images cannot be listed by QEMU
    folders on the way                   QEMU's group may walk through them (access.py), and neither list nor write

All QEMUs share one group, the same on every host: it is given the way through folders and nothing else. Users come from the
host's table of id ranges (lxc/ids.py), as those of containers do. libvirt changes no owners: files are given here before it is
asked for anything, and taken back when a machine loses them, so that a user who comes again later inherits nothing.
"""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from sysvm.basics.errors import NotYet
from sysvm.hosts.storage import qcow2
from sysvm.hosts.system import access
from sysvm.hosts.system.userids import GROUP


@dataclass(frozen=True, slots=True)
class Owner:
    """The user of a QEMU."""

    uid: int
    gid: int = GROUP

    @property
    def label(self) -> str:
        """As libvirt's seclabel has it."""
        return f"+{self.uid}:+{self.gid}"


ROOT = Owner(0, 0)  # whose QEMU of an earlier release is; it goes on so until it ends


def give(path: Path, owner: Owner, mode: int = 0o600) -> None:
    """The file, or folder, is this user's alone, and he can walk to it. What is root's user's stays reachable for root only."""
    if owner != ROOT:
        access.open_way(path.parent, owner.gid)
    try:
        if stat.S_IMODE(path.stat().st_mode) != mode:
            path.chmod(mode)
        os.chown(path, owner.uid, owner.gid)
    except PermissionError as error:
        text = f"{path} cannot be given to QEMU's user: its file system lets root change no owners"
        raise NotYet(60, f"{text} (NFS: no_root_squash)") from error


def take_back(path: Path, owner: Owner) -> None:
    """The file is root's, if it was this user's; another one's is left to him."""
    try:
        if path.stat().st_uid == owner.uid:
            os.chown(path, ROOT.uid, ROOT.gid)
    except FileNotFoundError:
        return


def lend(path: Path, like: Path) -> None:
    """A fresh file is whose the other one is: QEMU writes into it what it reads there."""
    status = like.stat()
    give(path, Owner(status.st_uid, status.st_gid))


def acting_as(path: Path) -> tuple[str, ...]:
    """Options of setpriv for a program that works on this file, and has nobody's rights but its owner's."""
    status = path.stat()
    who = (f"--reuid={status.st_uid}", f"--regid={status.st_gid}", "--clear-groups")
    return (*who, "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all")


def share(path: Path) -> None:
    """A file that many machines only read."""
    access.open_way(path.parent, GROUP)
    access.open_way(path.resolve().parent, GROUP)
    mode = path.stat().st_mode
    if not mode & stat.S_IROTH:
        path.chmod(stat.S_IMODE(mode) | stat.S_IROTH)


def hide(folder: Path) -> None:
    """Nobody but root lists the folder: a name in it is as good as a secret, and who knows it may walk."""
    mode = folder.stat().st_mode
    if mode & 0o066:
        folder.chmod(stat.S_IMODE(mode) & ~0o066)


def share_below(volume: Path) -> None:
    """What a volume stands on."""
    if volume.suffix != ".qcow2":
        return
    backing = qcow2.read(volume).backing
    if backing:
        path = volume.parent / backing
        hide(path.parent)
        share(path)
        share_below(path)
