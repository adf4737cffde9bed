"""The root of all system VMs: a Debian tree made of the checked-in package list, trimmed, without secrets.

The result depends only on the recipe and on the packages' versions: package scripts see a fixed time, everything that
they leave behind that is random (host keys, machine id) or from this machine (resolv.conf, logs) is removed, and
`audit` refuses a tree that has anything which the promises forbid. No service is enabled: the agent does that.
"""

import os
import re
import shlex
import shutil
from pathlib import Path

from sysvm.basics.errors import Refused, Why
from sysvm.images import tree
from sysvm.images.apt import SUITE, Archive
from sysvm.images.bundle import write_bundle
from sysvm.images.commands import Progress, run
from sysvm.images.manifest import Package
from sysvm.images.places import RECIPES, names_in

ASKED = RECIPES / "packages.txt"
PULLED = RECIPES / "packages-pulled.txt"
TRIM = RECIPES / "trim.txt"
OVERLAY = RECIPES / "rootfs"
LIBRARY = "usr/lib/python3.11"
BUNDLE = "usr/lib/sysvm/python3.11.bundle"

_SECRETS = (
    "etc/ssh/ssh_host_*",
    "etc/machine-id",
    "var/lib/dbus/machine-id",
    "var/lib/systemd/random-seed",
    "etc/ssl/private/*",
    "root/.*",
    "etc/hostname",
    "etc/resolv.conf",
)
_KEPT_AT_HOME = {"root/.bashrc", "root/.profile"}
_FOLDERS = (
    "sysvm/boot",
    "sysvm/state",
    "sysvm/host",
    "sysvm/store",
    "var/log/sysvm",
    "usr/lib/sysvm/python",
    "usr/lib/sysvm/run/lock",
    "usr/lib/sysvm/run/sshd",
    "usr/lib/modules",
)
_LOG = "usr/lib/sysvm/run/log.fifo"


def build_root(place: Path, archive: Archive, packages: tuple[Package, ...], progress: Progress) -> str:
    """Makes the tree at `place` (which must not exist); returns the licences of its packages as one text."""
    debs = archive.take(packages, progress)
    progress(f"installing {len(packages)} packages into a new root (mmdebstrap)")
    _bootstrap(place, archive, debs)
    texts = licences(place)
    progress("trimming, laying the overlay, compiling Python")
    finish(place)
    audit(place, packages)
    return texts


def _bootstrap(place: Path, archive: Archive, debs: tuple[Path, ...]) -> None:
    stage = place.with_name(f"{place.name}.debs")
    stage.mkdir()
    given = shlex.quote(str(stage))
    cached = '"$1/var/cache/apt/archives"'
    try:
        archive.copy_lists(stage / "lists")
        for deb in debs:
            (stage / deb.name).hardlink_to(deb)
        run(
            "mmdebstrap",
            "--mode=root",
            "--variant=essential",
            "--skip=update",
            "--format=directory",
            f"--include={','.join(names_in(ASKED))}",
            '--aptopt=APT::Install-Recommends "false"',
            '--aptopt=Acquire::Languages "none"',
            "--dpkgopt=force-unsafe-io",
            "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",
            f'--setup-hook=mkdir -p "$1/var/lib/apt" && cp -r {given}/lists "$1/var/lib/apt/"',
            f"--setup-hook=mkdir -p {cached} && cp -l {given}/*.deb {cached}",
            SUITE,
            place,
            *archive.sources,
        )
    finally:
        shutil.rmtree(stage)


def finish(place: Path) -> None:
    """Turns a freshly installed tree into the template's root."""
    for folder in (place / "dev", place / "run", place / "tmp", place / "boot"):
        for entry in folder.iterdir():
            tree.remove(entry)
    tree.trim(place, (*names_in(TRIM), *_SECRETS))
    for name in _FOLDERS:
        (place / name).mkdir(parents=True, exist_ok=True)
    tree.lay_over(OVERLAY, place)
    os.mkfifo(place / _LOG, 0o600)
    _compile(place)
    write_bundle(place / LIBRARY, f"/{LIBRARY}", place / BUNDLE)
    tree.drop_privileges(place)
    tree.settle_times(place)


def _compile(place: Path) -> None:
    """Byte code that Python never compares with its source: valid whatever the time stamps are."""
    for old in list((place / "usr/lib").rglob("__pycache__")):
        shutil.rmtree(old)
    run(
        "chroot", place, "/usr/bin/python3", "-I", "-m", "compileall", "-q", "-f",
        "--invalidation-mode", "unchecked-hash", f"/{LIBRARY}",
    )  # fmt: skip


def installed(place: Path) -> tuple[Package, ...]:
    """The packages that dpkg's status in the tree lists."""
    stanzas = (place / "var/lib/dpkg/status").read_text().split("\n\n")
    found = []
    for stanza in stanzas:
        fields = dict(re.findall(r"^(Package|Version|Architecture|Status): (.*)$", stanza, re.MULTILINE))
        if fields.get("Status") == "install ok installed":
            found.append(Package(fields["Package"], fields["Version"], fields["Architecture"]))
    return tuple(sorted(found))


def licences(place: Path) -> str:
    """The copyright files of all packages, one after the other, and the licences that they refer to."""
    parts = []
    for file in sorted((place / "usr/share/doc").glob("*/copyright")):
        parts.append(f"===== {file.parent.name} =====\n{file.read_text(errors='replace').strip()}\n")
    for file in sorted((place / "usr/share/common-licenses").iterdir()):
        if not file.is_symlink():
            parts.append(f"===== licence {file.name} =====\n{file.read_text(errors='replace').strip()}\n")
    return "\n".join(parts)


def unlisted(packages: tuple[Package, ...]) -> list[str]:
    """The names that neither of the checked-in lists has."""
    listed = {*names_in(ASKED), *names_in(PULLED)}
    return sorted(package.name for package in packages if package.name not in listed)


def secrets_in(place: Path) -> list[str]:
    """The files in the tree that must differ between machines, and so must not be in an image."""
    found = (entry for pattern in _SECRETS for entry in place.glob(pattern))
    return sorted({str(entry.relative_to(place)) for entry in found} - _KEPT_AT_HOME)


def audit(place: Path, resolved: tuple[Package, ...]) -> None:
    """Refused unless the tree keeps the template's promises."""
    there = installed(place)
    faults = [
        *(f"package {name} is not in images/packages-pulled.txt" for name in unlisted(there)),
        *(f"{file} gives its caller rights" for file in tree.privileged(place)),
        *(f"{file} must not be in an image" for file in secrets_in(place)),
    ]
    exact = {(package.name, package.version) for package in there}
    expected = {(package.name, package.version) for package in resolved}
    faults += [f"package {name} {version} was not expected or is missing" for name, version in sorted(exact ^ expected)]
    if faults:
        raise Refused("the template is not as promised: " + "; ".join(faults), Why.INTERNAL)
