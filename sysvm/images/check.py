"""Is the newest template still what the archive would give? Tells; building the next version is `build`'s.

The lists are always fetched anew for this, so a mirror that does not answer refuses the check instead of calming anybody.
Also tells whether the files of the template are the ones that were built, by their SHA-256.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sysvm.basics.errors import Refused
from sysvm.images import apt, root
from sysvm.images.manifest import Manifest, Package, Template, sha256
from sysvm.images.places import names_in
from sysvm.images.template import BOOT, boot_packages, list_templates, recipe_digest


@dataclass(frozen=True, slots=True)
class Newer:
    """A package that the archive has in another version than the image."""

    name: str
    built: str
    offered: str
    security: bool

    def __str__(self) -> str:
        source = "security" if self.security else "main"
        return f"{self.name}: {self.built or 'not there'} -> {self.offered or 'gone'} ({source})"


@dataclass(frozen=True, slots=True)
class Report:
    """What a check found; nothing found means that the template is current."""

    template: Template
    newer: tuple[Newer, ...]
    damaged: tuple[str, ...]
    recipe_changed: bool

    @property
    def current(self) -> bool:
        """Whether a build would make the same again and the files are whole."""
        return not self.newer and not self.damaged and not self.recipe_changed

    @property
    def security(self) -> tuple[Newer, ...]:
        """What comes from the security archive."""
        return tuple(change for change in self.newer if change.security)


def differences(manifest: Manifest, offered: tuple[Package, ...]) -> tuple[Newer, ...]:
    """The packages whose versions in the image and in the archive differ, those of the security archive first."""
    built = {package.name: package.version for package in (*manifest.packages, *manifest.boot_packages)}
    now = {package.name: package for package in offered}
    changes = [
        Newer(name, built.get(name, ""), package.version, "security" in package.archive.lower())
        for name, package in now.items()
        if built.get(name) != package.version
    ]
    changes += [Newer(name, version, "", False) for name, version in built.items() if name not in now]
    return tuple(sorted(changes, key=lambda change: (not change.security, change.name)))


def check(cache: Path, progress: Callable[[str], None]) -> Report:
    """Compares the newest template with its recipe, its manifest and the archive; Refused when there is no template."""
    templates = list_templates(cache)
    if not templates:
        raise Refused("there is no template yet: run sysvm template build")
    template = templates[0]
    archive = apt.Archive(cache, apt.host_mirrors())
    progress("fetching package lists")
    archive.refresh()
    offered = (*archive.resolve(names_in(root.ASKED)), *boot_packages(archive, names_in(BOOT)))
    progress("reading the template's files")
    files = template.manifest.files.items()
    damaged = tuple(name for name, digest in files if sha256(template.folder / name) != digest)
    changed = template.manifest.recipe != recipe_digest()
    return Report(template, differences(template.manifest, offered), damaged, changed)
