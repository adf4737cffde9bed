"""Packs files of this machine into a zip, for an operator: logs, configuration, and reports of the kernel's state.

Only what cannot hold a secret: logs, /proc/net, and named reports. Configuration files of services are left out where they
carry passwords or keys. A file is cut to its last part; what is missing is told inside the archive. Blocking.
"""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

from sysvm.agent.command import CommandFailed, finish
from sysvm.basics.errors import Refused
from sysvm.wire.collecting import MOST, Collected, CollectFiles

_PLACES = ("/var/log", "/proc/net", "/etc/resolv.conf", "/etc/hosts", "/proc/meminfo", "/proc/loadavg", "/proc/stat",
           "/proc/mounts", "/proc/uptime")  # fmt: skip
_LAST = 1024 * 1024  # bytes of one file, from its end
_USUAL = ("[RULES]", "[ROUTE]", "[IFCONFIG]", "[NEIGHBOURS]", "[CONNECTIONS]", "[PROCESSES]", "[DISK]", "/proc/meminfo",
          "/proc/loadavg", "/var/log/sysvm")  # fmt: skip
_REPORTS = {
    "[RULES]": ("nft", "list", "ruleset"),
    "[ROUTE]": ("ip", "route", "show", "table", "all"),
    "[IFCONFIG]": ("ip", "-statistics", "address", "show"),
    "[NEIGHBOURS]": ("ip", "neighbour", "show"),
    "[CONNECTIONS]": ("conntrack", "-L"),
    "[PROCESSES]": ("ps", "-e", "-o", "pid,ppid,rss,etime,args"),
    "[DISK]": ("df", "-k"),
}
_ALSO = {"[IPTABLES]": "[RULES]"}  # as CloudStack calls it


def collect(body: CollectFiles, root: Path) -> Collected:
    """The archive. Raises Refused when it would be too large, or when a file may not be read."""
    missing: list[str] = []
    packed = io.BytesIO()
    names = []
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for wanted in body.files or _USUAL:
            for name, content in _found(wanted, root, missing):
                archive.writestr(name, content)
                names.append(name)
        if missing:
            archive.writestr("missing", "\n".join((*missing, "")))
    if packed.tell() > MOST:
        raise Refused(f"the files are {packed.tell()} bytes when packed, and {MOST} are allowed: ask for fewer")
    return Collected(archive=packed.getvalue(), files=tuple(names))


def _found(wanted: str, root: Path, missing: list[str]) -> Iterator[tuple[str, bytes]]:
    report = _ALSO.get(wanted.upper(), wanted.upper())
    if report in _REPORTS:
        yield from _reported(report, missing)
        return
    place = _allowed(wanted)
    files = sorted(one for one in (root / place).rglob("*") if one.is_file()) if (root / place).is_dir() else [root / place]
    for file in files:
        try:
            yield str(file.relative_to(root)), _end_of(file)
        except OSError as error:
            missing.append(f"/{file.relative_to(root)}: {error.strerror}")


def _reported(report: str, missing: list[str]) -> Iterator[tuple[str, bytes]]:
    try:
        done = finish(*_REPORTS[report])
    except CommandFailed as error:
        missing.append(f"{report}: {error}")
        return
    yield report.strip("[]").lower(), (done.out + done.err).encode()[-_LAST:]


def _allowed(wanted: str) -> Path:
    """The path below the root. Raises Refused for what an operator need not read this way."""
    path = Path(wanted)
    if not path.is_absolute() or ".." in path.parts:
        raise Refused(f"{wanted} is neither an absolute path nor one of {', '.join(_REPORTS)}")
    if not any(path.is_relative_to(place) for place in _PLACES):
        raise Refused(f"{wanted} is not collected, for it may hold secrets; what is: {', '.join(_PLACES)}")
    return path.relative_to("/")


def _end_of(file: Path) -> bytes:
    if file.is_symlink() and not str(file).startswith("/proc"):
        raise OSError(0, "is a link")
    with file.open("rb") as opened:
        content = opened.read(16 * _LAST)
    return content[-_LAST:]
