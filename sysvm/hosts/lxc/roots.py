"""The root tree of a container.

System VM: an overlay. Below, read-only and identity-mapped, the agent's tree over the template's; above, a folder of the
incarnation. Guest: its volume (a folder), identity-mapped and writable, because it outlives the incarnation.

The identity-mapped mounts are only needed while the overlay is made: it keeps clones of its own. A crash meanwhile leaves
them mounted; the next `ensure_root` and `remove_root` unmount what they find.
"""

import os
import shutil
from pathlib import Path

from sysvm.basics.errors import Refused, Why
from sysvm.hosts import mounts
from sysvm.hosts.layout import Layout, volume_path
from sysvm.wire.machines import Kind, MachineSpec


def ensure_root(layout: Layout, spec: MachineSpec, base: int, user_namespace: Path) -> Path:
    """The container's root is mounted; where."""
    folder = layout.incarnation(spec.machine, spec.incarnation)
    root = folder / "root"
    root.mkdir(parents=True, exist_ok=True)
    if mounts.mounted_below(root):
        return root
    if spec.kind is Kind.GUEST:
        mounts.identity_mapped(_guest_volume(spec), root, user_namespace, read_only=False)
    else:
        _mount_overlay(folder, _layers(layout, spec), base, user_namespace)
    return root


def remove_root(folder: Path) -> None:
    """Neither mounts nor files of the incarnation's root are left."""
    mounts.unmount_below(folder)
    for name in ("root", "lower", "work", "upper"):
        shutil.rmtree(folder / name, ignore_errors=not (folder / name).exists())


def _layers(layout: Layout, spec: MachineSpec) -> tuple[Path, ...]:
    template = layout.template_root(spec.template)
    if not template.is_dir():
        raise Refused(f"system VM template {spec.template!r} is not on this host ({template.parent})", Why.UNAVAILABLE)
    agents = sorted((layout.cache / "agents").glob("[!.]*/root"), key=lambda path: path.parent.stat().st_mtime)
    return (*agents[-1:], template)


def _guest_volume(spec: MachineSpec) -> Path:
    folders = [volume_path(disk) for disk in spec.disks if disk.format == "dir"]
    if not folders or not folders[0].is_dir():
        raise Refused(f"{spec.name} has no root volume of format dir on this host", Why.UNAVAILABLE)
    return folders[0]


def _mount_overlay(folder: Path, layers: tuple[Path, ...], base: int, user_namespace: Path) -> None:
    mounts.unmount_below(folder)
    for name in ("upper", "work"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        os.chown(folder / name, base, base)
    (folder / "upper").chmod(0o755)
    mapped = [folder / "lower" / str(number) for number in range(len(layers))]
    for source, target in zip(layers, mapped, strict=True):
        target.mkdir(parents=True, exist_ok=True)
        mounts.identity_mapped(source, target, user_namespace, read_only=True)
    mounts.overlay(folder / "root", mapped, folder / "upper", folder / "work")
    for target in reversed(mapped):
        mounts.unmount(target)
