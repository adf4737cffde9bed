"""Building and finding templates: the cache's folder `templates/`, one folder for each version.

A template's key is the hash of its recipe (lists, overlay, initrd and the code that builds) and of the exact packages that
the archive offers; its version is the day of its newest archive and the start of the key. What has the key is never built
twice. Two builds at once wait for each other; a killed one leaves a folder `.new-*` that the next one removes.
"""

import hashlib
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

from sysvm.basics.clock import SystemClock
from sysvm.basics.errors import Refused, Why
from sysvm.images import apt, bundle, claims, cpio, kernel, root, squashfs, tree, vm
from sysvm.images.commands import Progress, exclusive, need_root, new_folder
from sysvm.images.manifest import FILES, Manifest, Package, Template, sha256, write_manifest
from sysvm.images.places import RECIPES, names_in

BOOT = RECIPES / "boot-packages.txt"
_RECIPE_FILES = (root.ASKED, root.TRIM, root.OVERLAY, BOOT, vm.INIT, vm.PLAIN, kernel.MODULES)
_RECIPE_CODE = (root, bundle, vm, kernel, cpio, squashfs, tree)


def recipe_digest() -> str:
    """The identity of everything that decides about a template, but the archive."""
    code = (Path(str(module.__file__)) for module in _RECIPE_CODE)
    return tree.content_digest(*_RECIPE_FILES, *code)


def template_key(recipe: str, packages: tuple[Package, ...], boot: tuple[Package, ...]) -> str:
    """The identity of a template: equal keys mean equal content."""
    names = [f"{package.name}={package.version}" for package in (*packages, *boot)]
    return hashlib.sha256("\n".join([recipe, *names]).encode()).hexdigest()


def list_templates(cache: Path) -> tuple[Template, ...]:
    """The complete templates of the cache, the newest first."""
    folders = [file.parent for file in (cache / "templates").glob("*/manifest.json") if file.parent.name[0] != "."]
    return tuple(sorted(map(Template.read, folders), key=lambda template: template.manifest.built, reverse=True))


def build(cache: Path, progress: Progress) -> Template:
    """The template of the present recipe and of what the archive offers now; built unless it is there."""
    with exclusive(cache / "templates", progress):
        archive = apt.Archive(cache, apt.host_mirrors())
        archive.freshen(SystemClock().now(), progress)
        packages = archive.resolve(names_in(root.ASKED))
        boot = boot_packages(archive, names_in(BOOT))
        recipe = recipe_digest()
        key = template_key(recipe, packages, boot)
        for template in list_templates(cache):
            if template.manifest.key == key:
                return template
        need_root("building a template")
        return _build(cache, archive, packages, boot, recipe, progress)


def ensure(cache: Path, progress: Progress) -> Template:
    """The newest template of the present recipe, whether or not the archive has newer packages; built if there is none.

    For who wants to start machines, also without a network; who wants the newest packages calls `build`.
    """
    recipe = recipe_digest()
    for template in list_templates(cache):
        if template.manifest.recipe == recipe and claims.claim(cache, claims.TEMPLATES, template.version):
            return template
    return build(cache, progress)


def boot_packages(archive: apt.Archive, names: tuple[str, ...]) -> tuple[Package, ...]:
    """The kernel's and the initrd's packages: what these names stand for now. A name linux-image-* stands for the newest one."""
    kernels = {name for name in names if name.startswith("linux-image-")}
    others = set(names) - kernels
    return tuple(
        package
        for package in archive.resolve(names)
        if package.name in others or (package.name.startswith("linux-image-") and package.name not in kernels)
    )


def _only(packages: tuple[Package, ...], start: str) -> Package:
    found = [package for package in packages if package.name.startswith(start)]
    if len(found) != 1:
        raise Refused(f"the archive offers {len(found)} packages {start}*, not one", Why.INTERNAL)
    return found[0]


def _build(
    cache: Path,
    archive: apt.Archive,
    packages: tuple[Package, ...],
    boot: tuple[Package, ...],
    recipe: str,
    progress: Progress,
) -> Template:
    key = template_key(recipe, packages, boot)
    dates = archive.dates()
    newest = max(map(parsedate_to_datetime, dates.values()))
    version = f"{newest:%Y%m%d}-{key[:10]}"
    with new_folder(cache / "templates" / version) as folder:
        licences = root.build_root(folder / "root", archive, packages, progress)
        kernel_deb, busybox_deb = archive.take((_only(boot, "linux-image-"), _only(boot, "busybox")), progress)
        form = vm.build_vm(folder, kernel_deb, busybox_deb, progress)
        (folder / "licences.txt").write_text(licences)
        (folder / "packages.txt").write_text(_package_list(packages, boot))
        manifest = Manifest(
            version=version,
            key=key,
            recipe=recipe,
            built=datetime.fromtimestamp(SystemClock().now(), UTC).isoformat(timespec="seconds"),
            archives=dates,
            kernel=form.release,
            packages=packages,
            boot_packages=boot,
            drivers=form.drivers,
            tree=tree.tree_digest(folder / "root"),
            files={name: sha256(folder / name) for name in FILES},
        )
        write_manifest(folder, manifest)
    progress(f"template {version} is ready")
    return Template.read(cache / "templates" / version)


def _package_list(packages: tuple[Package, ...], boot: tuple[Package, ...]) -> str:
    lines = [f"{package.name} {package.version} {package.architecture}" for package in packages]
    lines += [f"{package.name} {package.version} {package.architecture} (VM form only)" for package in boot]
    return "\n".join(lines) + "\n"
