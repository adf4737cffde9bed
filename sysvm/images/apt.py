"""Asking Debian's archive which packages there are, and taking them from it, without touching the host's own apt.

apt runs with its own state folder in the cache, an empty list of installed packages, and the mirror that the host's sources
name for Debian (so that a site's mirror and its proxy are used); signatures are checked with Debian's keyring.
Two builds (a template and a guest) share the state folder; they use it one after the other.
Lists are fetched again when they are older than an hour: a second build asks nobody. A mirror that does not answer is no
error while there are lists from before; whoever needs the truth (`check`) calls `refresh` itself.
"""

import hashlib
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import msgspec

from sysvm.basics.errors import Refused
from sysvm.images.commands import Progress, exclusive, run
from sysvm.images.manifest import Package

SUITE = "bookworm"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_FRESH = 3600.0
_INSTALL = re.compile(r"^Inst (?P<name>\S+) \((?P<version>\S+) (?P<archive>.*) \[(?P<architecture>\w+)\]\)")


@dataclass(frozen=True, slots=True)
class Mirrors:
    """Where Debian's main and security archives are fetched from."""

    main: str = "http://deb.debian.org/debian"
    security: str = "http://deb.debian.org/debian-security"

    @property
    def lines(self) -> tuple[str, str]:
        """The two sources, as apt's one-line entries."""
        signed = f"[arch=amd64 signed-by={KEYRING}]"
        return (
            f"deb {signed} {self.main} {SUITE} main",
            f"deb {signed} {self.security} {SUITE}-security main",
        )


def mirrors_of(sources: str) -> Mirrors:
    """The mirrors that the host's sources (one-line or deb822 entries) name for Debian; the usual ones otherwise."""
    live = "\n".join(line for line in sources.splitlines() if not line.lstrip().startswith("#"))
    found = re.findall(r"https?://[^\s\]]+", live)
    tidy = [uri.rstrip("/") for uri in found]
    main = [uri for uri in tidy if uri.endswith("/debian")]
    security = [uri for uri in tidy if uri.endswith("/debian-security")]
    usual = Mirrors()
    return Mirrors(main[0] if main else usual.main, security[0] if security else usual.security)


def host_mirrors(etc: Path = Path("/etc/apt")) -> Mirrors:
    """The mirrors of this machine."""
    parts = sorted((etc / "sources.list.d").glob("*.*")) if (etc / "sources.list.d").is_dir() else []
    files = [file for file in [etc / "sources.list", *parts] if file.suffix in (".list", ".sources") and file.is_file()]
    return mirrors_of("\n".join(file.read_text(errors="replace") for file in files))


class Archive:
    """Debian's archive as seen from one cache folder."""

    def __init__(self, cache: Path, mirrors: Mirrors) -> None:
        self._home = cache / "apt"
        self._mirrors = mirrors
        self._conf = self._home / "apt.conf"
        self._lists = self._home / "lists"

    @property
    def sources(self) -> tuple[str, ...]:
        """The entries of sources.list."""
        return self._mirrors.lines

    def copy_lists(self, place: Path) -> None:
        """A copy of the fetched lists, in the new folder `place`: they may be fetched anew at any time."""
        with exclusive(self._home, _silent):
            shutil.copytree(self._lists, place)

    def _prepare(self) -> None:
        for folder in ("lists/partial", "archives/partial", "cache", "none"):
            (self._home / folder).mkdir(parents=True, exist_ok=True)
        (self._home / "status").touch()
        (self._home / "sources.list").write_text("".join(f"{line}\n" for line in self.sources))
        self._conf.write_text(_configuration(self._home) + run("apt-config", "dump", "Acquire"))

    def _apt(self, *words: str, cwd: Path | None = None) -> str:
        return run(*words, env={"APT_CONFIG": str(self._conf)}, cwd=cwd)

    def _age(self, now: float) -> float:
        releases = list(self._lists.glob("*_InRelease"))
        stamp = self._home / "fetched"
        return now - stamp.stat().st_mtime if releases and stamp.exists() else float("inf")

    def refresh(self) -> None:
        """Fetches the lists; Refused when the mirror does not answer."""
        with exclusive(self._home, _silent):
            self._prepare()
            self._apt("apt-get", "update", "--error-on=any")
            (self._home / "fetched").touch()

    def freshen(self, now: float, progress: Progress) -> None:
        """Fetches the lists unless they are recent; keeps older ones while the mirror does not answer."""
        age = self._age(now)
        if age < _FRESH:
            return
        progress(f"fetching package lists from {self._mirrors.main}")
        try:
            self.refresh()
        except Refused as silence:
            if age == float("inf"):
                raise
            progress(f"the archive does not answer, using the lists of {age / 3600:.0f} hours ago ({silence.text})")

    def dates(self) -> dict[str, str]:
        """The date of each suite's release file."""
        found: dict[str, str] = {}
        for release in sorted(self._lists.glob("*_InRelease")):
            fields = dict(re.findall(r"^(Codename|Date): (.*)$", release.read_text(errors="replace"), re.MULTILINE))
            found[fields["Codename"]] = fields["Date"]
        return found

    def resolve(self, names: tuple[str, ...]) -> tuple[Package, ...]:
        """The packages, with all that they depend on and Debian's essential ones, that would be installed now."""
        memory = self._home / f"resolved-{self._lists_key(names)}.json"
        if memory.exists():
            return msgspec.json.decode(memory.read_bytes(), type=tuple[Package, ...])
        with exclusive(self._home, _silent):
            said = self._apt("apt-get", "--simulate", "--quiet", "install", "?essential", *names)
        packages = tuple(sorted(filter(None, map(_package, said.splitlines()))))
        for old in self._home.glob("resolved-*.json"):
            if old.stat().st_mtime < (self._home / "fetched").stat().st_mtime:
                old.unlink()
        _write_atomically(memory, msgspec.json.encode(packages))
        return packages

    def _lists_key(self, names: tuple[str, ...]) -> str:
        files = sorted(self._lists.glob("*_Packages*"))
        facts = [f"{file.name} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files]
        return hashlib.sha256("\n".join([*names, "", *facts]).encode()).hexdigest()[:16]

    def take(self, packages: tuple[Package, ...], progress: Progress) -> tuple[Path, ...]:
        """The package files, downloaded where missing (apt checks their hashes against the signed lists)."""
        folder = self._home / "archives"
        files = tuple(folder / package.deb for package in packages)
        with exclusive(self._home, progress):
            missing = [package for package in packages if not (folder / package.deb).exists()]
            if missing:
                progress(f"downloading {len(missing)} packages")
                exact = [f"{package.name}={package.version}" for package in missing]
                self._apt("apt-get", "download", "--quiet", *exact, cwd=folder)
        if absent := [file.name for file in files if not file.exists()]:
            raise Refused(f"the archive gave no {absent[0]}: run the build again")
        return files


def _silent(_: str) -> None:
    return


def _package(line: str) -> Package | None:
    match = _INSTALL.match(line)
    if match is None:
        return None
    parts = match.groupdict()
    return Package(parts["name"], parts["version"], parts["architecture"], parts["archive"])


def _write_atomically(file: Path, content: bytes) -> None:
    fresh = file.with_name(f"{file.name}.{os.getpid()}")
    fresh.write_bytes(content)
    fresh.rename(file)


def _configuration(home: Path) -> str:
    settings = {
        "Dir": f"{home}/",
        "Dir::Etc::sourcelist": f"{home}/sources.list",
        "Dir::Etc::sourceparts": f"{home}/none",
        "Dir::Etc::preferences": "/dev/null",
        "Dir::Etc::preferencesparts": f"{home}/none",
        "Dir::Etc::parts": f"{home}/none",
        "Dir::Etc::main": "/dev/null",
        "Dir::State": f"{home}/",
        "Dir::State::lists": "lists/",
        "Dir::State::status": f"{home}/status",
        "Dir::Cache": f"{home}/cache/",
        "Dir::Cache::archives": f"{home}/archives/",
        "APT::Architecture": "amd64",
        "APT::Architectures": "amd64",
        "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
        # apt counts itself as essential; the image is never upgraded in place, so it needs no apt
        "pkgCacheGen::ForceEssential": ",",
    }
    return "".join(f'{name} "{value}";\n' for name, value in settings.items())
