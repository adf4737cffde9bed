"""Operations on a tree of files that will become an image: trimming, laying files over it, time stamps, its digest.

All are safe to repeat. They follow no symbolic link out of the tree: links are handled as links.
"""

import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from sysvm.images.places import EPOCH


def everything(tree: Path) -> Iterator[Path]:
    """Every entry below `tree` in a fixed order, a folder before what it holds."""
    for folder, folders, files in os.walk(tree):
        folders.sort()
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        real = [name for name in folders if name not in links]
        for name in sorted([*files, *links, *real]):
            yield Path(folder) / name
        folders[:] = real


def remove(entry: Path) -> None:
    """Removes a file, a link or a whole folder; nothing happens when it is not there."""
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    else:
        entry.unlink(missing_ok=True)


def trim(tree: Path, patterns: tuple[str, ...]) -> None:
    """Removes what the glob `patterns` (relative to the tree) name."""
    for pattern in patterns:
        for entry in list(tree.glob(pattern)):
            remove(entry)


def lay_over(source: Path, tree: Path) -> None:
    """Copies the files of `source` over `tree`, owned by the running user, as 0755 or 0644 whatever the umask was."""
    for entry in everything(source):
        place = tree / entry.relative_to(source)
        if entry.is_symlink():
            remove(place)
            place.symlink_to(entry.readlink())
        elif entry.is_dir():
            place.mkdir(exist_ok=True)
        else:
            remove(place)
            shutil.copyfile(entry, place)
            place.chmod(0o755 if entry.stat().st_mode & stat.S_IXUSR else 0o644)


def drop_privileges(tree: Path) -> None:
    """Takes setuid and setgid bits and file capabilities from all files: everything in a system VM is started by root."""
    for entry in everything(tree):
        mode = entry.lstat().st_mode
        if not stat.S_ISREG(mode):
            continue
        if mode & (stat.S_ISUID | stat.S_ISGID):
            entry.chmod(stat.S_IMODE(mode) & ~(stat.S_ISUID | stat.S_ISGID))
        if "security.capability" in os.listxattr(entry):
            os.removexattr(entry, "security.capability")


def privileged(tree: Path) -> list[Path]:
    """The files that give their caller rights: setuid, setgid, or with capabilities."""
    found = []
    for entry in everything(tree):
        mode = entry.lstat().st_mode
        if stat.S_ISREG(mode) and (mode & (stat.S_ISUID | stat.S_ISGID) or "security.capability" in os.listxattr(entry)):
            found.append(entry.relative_to(tree))
    return found


def settle_times(tree: Path) -> None:
    """Gives every entry the one time stamp of all images."""
    for entry in [*everything(tree), tree]:
        os.utime(entry, (EPOCH, EPOCH), follow_symlinks=False)


def tree_digest(tree: Path, owners: bool = True) -> str:
    """SHA-256 over names, kinds, modes, owners and contents of a tree; equal trees give equal digests."""
    total = hashlib.sha256()
    for entry in everything(tree):
        facts = entry.lstat()
        owner = f"{facts.st_uid}:{facts.st_gid}" if owners else "-"
        total.update(f"{entry.relative_to(tree)}\0{facts.st_mode:o}\0{owner}\0".encode())
        if stat.S_ISREG(facts.st_mode):
            with entry.open("rb") as stream:
                total.update(hashlib.file_digest(stream, "sha256").digest())
        elif stat.S_ISLNK(facts.st_mode):
            total.update(str(entry.readlink()).encode())
    return total.hexdigest()


def content_digest(*places: Path) -> str:
    """SHA-256 over names and contents of files and folders, for recipes: modes, but neither owners nor times count."""
    total = hashlib.sha256()
    for place in places:
        for entry in [place] if place.is_file() else everything(place):
            if entry.is_dir() or "__pycache__" in entry.parts:
                continue
            runs = bool(entry.lstat().st_mode & stat.S_IXUSR)
            total.update(f"{entry.relative_to(place.parent)}\0{runs}\0".encode())
            total.update(hashlib.sha256(entry.read_bytes()).digest())
    return total.hexdigest()
