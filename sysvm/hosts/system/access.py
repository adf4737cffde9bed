"""Access lists of files (POSIX), so that one group may walk through a folder that is shut for everybody else.

An entry of the list gives a group what the folder's mode refuses it, and nobody else gains anything: a state folder below /root
stays as shut as it was. Where a file system has no such lists, the operator is told which folder to open.

Deliberately only added to: an entry stays until its folder goes. Two hosts that add the same entry at once write the same.
"""

import errno
import os
import struct
from collections.abc import Iterable
from pathlib import Path

from sysvm.basics.errors import NotYet

READ, WRITE, WALK = 4, 2, 1

_NAME = "system.posix_acl_access"
_VERSION = struct.pack("<I", 2)
_ENTRY = struct.Struct("<HHI")
_OWNER, _OWNING_GROUP, _GROUP, _MASK, _OTHERS = 0x01, 0x04, 0x08, 0x10, 0x20
_NAMED = (0x02, _GROUP)  # users and groups by number; the mask bounds them
_NOBODY = 0xFFFFFFFF

Entry = tuple[int, int, int]  # tag, rights, number


# ---------------------------------------------------------------- lists, pure
def of_mode(mode: int) -> list[Entry]:
    """The list that a file without one has."""
    places = ((_OWNER, 6), (_OWNING_GROUP, 3), (_OTHERS, 0))
    return [(tag, mode >> shift & 7, _NOBODY) for tag, shift in places]


def parse(raw: bytes) -> list[Entry]:
    """A list as the kernel writes it."""
    return [(tag, rights, number) for tag, rights, number in _ENTRY.iter_unpack(raw[len(_VERSION) :])]


def written(entries: Iterable[Entry]) -> bytes:
    """The same as the kernel reads it."""
    return _VERSION + b"".join(_ENTRY.pack(*entry) for entry in sorted(entries, key=lambda entry: (entry[0], entry[2])))


def allows(entries: list[Entry], group: int, rights: int) -> bool:
    """Whether somebody of this group, who is neither owner nor named, has the rights."""
    mask = next((given for tag, given, _ in entries if tag == _MASK), 7)
    own = [given & mask for tag, given, number in entries if tag == _GROUP and number == group]
    others = next(given for tag, given, _ in entries if tag == _OTHERS)
    return any(given & rights == rights for given in own) if own else others & rights == rights


def with_group(entries: list[Entry], group: int, rights: int) -> list[Entry]:
    """The list with the rights given to the group; everybody else keeps what he had."""
    mask = next((given for tag, given, _ in entries if tag == _MASK), 7)
    kept = [
        (tag, given & mask if tag in (*_NAMED, _OWNING_GROUP) else given, number)
        for tag, given, number in entries
        if tag != _MASK and (tag, number) != (_GROUP, group)
    ]
    kept.append((_GROUP, rights, group))
    bound = 0
    for tag, given, _ in kept:
        bound |= given if tag in (*_NAMED, _OWNING_GROUP) else 0
    return [*kept, (_MASK, bound, _NOBODY)]


# ---------------------------------------------------------------- files
def allow(place: Path, group: int, rights: int) -> None:
    """The group has the rights. NotYet where the file system cannot say so."""
    entries = _entries(place)
    if allows(entries, group, rights):
        return
    try:
        os.setxattr(place, _NAME, written(with_group(entries, group, rights)))
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EPERM, errno.EROFS):
            raise
        text = f"QEMU, which is not root, may not pass {place}, and its file system takes no access list"
        raise NotYet(60, f"{text} ({error.strerror}): chmod o+x {place}") from error


def open_way(folder: Path, group: int) -> None:
    """The group may walk to what is in the folder, also where links lead elsewhere."""
    for end in {folder.absolute(), folder.resolve()}:
        for place in (*reversed(end.parents), end):
            allow(place, group, WALK)


def _entries(place: Path) -> list[Entry]:
    try:
        return parse(os.getxattr(place, _NAME))
    except OSError as error:
        if error.errno not in (errno.ENODATA, errno.EOPNOTSUPP):
            raise
        return of_mode(place.stat().st_mode)
