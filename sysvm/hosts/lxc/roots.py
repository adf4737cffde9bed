"""The mounts of a container: its root tree, its state, its image stores. A container's root user walks to them himself, so
they are gathered in the runtime folder: the state folder need not be open to anybody.

System VM: an overlay. Below, read-only and identity-mapped, the agent's tree over the template's; above, a folder of the
incarnation. Guest: its volume (a folder), identity-mapped and writable, because it outlives the incarnation.

The identity-mapped mounts are only needed while the overlay is made: it keeps clones of its own. A crash meanwhile leaves
them mounted; the next `ensure_stage` and `remove_stage` unmount what they find.
"""

import os
import shutil
from pathlib import Path

from sysvm.basics.errors import Refused, Why
from sysvm.hosts.agentlayer import chosen_agent
from sysvm.hosts.layout import Layout, volume_path
from sysvm.hosts.system import mounts
from sysvm.wire.machines import Kind, MachineSpec


def ensure_stage(layout: Layout, spec: MachineSpec, base: int, user_namespace: Path) -> Path:
    """Root, state and stores of the container are mounted where its root user can get at them; where."""
    folder, stage = layout.incarnation(spec.machine, spec.incarnation), layout.stage(spec.machine, spec.incarnation)
    root = _folder(stage / "root")
    if spec.kind is Kind.GUEST:
        if not mounts.is_mounted(root):
            mounts.identity_mapped(_guest_volume(spec), root, user_namespace, read_only=False)
        return stage
    if not mounts.is_mounted(root):
        _mount_overlay(folder, root, _layers(layout, spec), base, user_namespace)
    _ensure_bound(folder / "state", stage / "state")
    for store in spec.stores:
        _ensure_mapped(Path(store.path), stage / "store" / store.store, user_namespace)
    return stage


def remove_stage(layout: Layout, machine: str, incarnation: int) -> None:
    """Neither mounts nor files of the incarnation's root are left."""
    folder, stage = layout.incarnation(machine, incarnation), layout.stage(machine, incarnation)
    for place in (stage, folder):
        mounts.unmount_below(place)
    for gone in (stage, folder / "lower", folder / "work", folder / "upper"):
        if gone.exists():
            shutil.rmtree(gone)


def _ensure_bound(source: Path, target: Path) -> None:
    if not source.is_dir():
        raise Refused(f"{source} is not a folder on this host", Why.UNAVAILABLE)
    if not mounts.is_bound(source, target):
        mounts.bind(source, _folder(target))


def _ensure_mapped(source: Path, target: Path, user_namespace: Path) -> None:
    """A store outlives the machine that serves it, and the next one has another id range: on disk it is root's."""
    if not source.is_dir():
        raise Refused(f"{source} is not a folder on this host", Why.UNAVAILABLE)
    if not mounts.is_mounted(_folder(target)):
        mounts.identity_mapped(source, target, user_namespace, read_only=False)


def _folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path


def _layers(layout: Layout, spec: MachineSpec) -> tuple[Path, ...]:
    template = layout.template_root(spec.template)
    if not template.is_dir():
        raise Refused(f"system VM template {spec.template!r} is not on this host ({template.parent})", Why.UNAVAILABLE)
    agent = chosen_agent(layout)
    return (template,) if agent is None else (agent / "root", template)


def _guest_volume(spec: MachineSpec) -> Path:
    folders = [volume_path(disk) for disk in spec.disks if disk.format == "dir"]
    if not folders or not folders[0].is_dir():
        raise Refused(f"{spec.name} has no root volume of format dir on this host", Why.UNAVAILABLE)
    return folders[0]


def _mount_overlay(folder: Path, root: Path, layers: tuple[Path, ...], base: int, user_namespace: Path) -> None:
    mounts.unmount_below(folder)
    for name in ("upper", "work"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        os.chown(folder / name, base, base)
    (folder / "upper").chmod(0o755)
    mapped = [folder / "lower" / str(number) for number in range(len(layers))]
    for source, target in zip(layers, mapped, strict=True):
        target.mkdir(parents=True, exist_ok=True)
        mounts.identity_mapped(source, target, user_namespace, read_only=True)
    mounts.overlay(root, mapped, folder / "upper", folder / "work")
    for target in reversed(mapped):
        mounts.unmount(target)
