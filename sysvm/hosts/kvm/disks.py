"""Disks and the drive of a running guest made those of its spec: what comes, what goes, what grows. Pure but for `apply`.

A guest lets go of a disk when it wants to; until then it has it, and asking again is harmless. Volumes are known by their files.
`apply` runs in libvirt's thread.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from sysvm.basics.errors import NotYet
from sysvm.hosts.kvm import domain
from sysvm.hosts.kvm.belongings import give_disks
from sysvm.hosts.kvm.connection import load
from sysvm.hosts.layout import volume_path
from sysvm.hosts.storage.owners import Owner
from sysvm.wire.machines import Disk


@dataclass(frozen=True, slots=True)
class Live:
    """What a running guest has."""

    disks: dict[str, str]  # target -> file
    iso: str  # file in the drive; empty: none
    limits: dict[str, dict[str, int]] = field(default_factory=dict)  # target -> how fast it may be, as libvirt has it
    tray: str = "closed"  # the drive's, or open, as libvirt has heard


@dataclass(frozen=True, slots=True)
class Changes:
    """What has to happen, in this order."""

    unplug: tuple[str, ...]  # targets
    plug: tuple[Disk, ...]
    drive: bool
    tune: tuple[Disk, ...] = ()


def read(xml: str) -> Live:
    """What libvirt says of a running guest."""
    disks, iso, limits, tray = {}, "", {}, "closed"
    for element in ElementTree.fromstring(xml).findall("./devices/disk"):
        target, source = element.find("target"), element.find("source")
        file = source.get("file", "") if source is not None else ""
        if target is None:
            continue
        if element.get("device") == "cdrom":
            iso, tray = file, target.get("tray", tray)
        else:
            disks[target.get("dev", "")] = file
            limits[target.get("dev", "")] = {one.tag: int(one.text or 0) for one in element.findall("./iotune/*")}
    return Live(disks, iso, limits, tray)


def changes(live: Live, wanted: tuple[Disk, ...], iso: Path | None) -> Changes:
    """The way from what there is to what is wanted."""
    files = {domain.disk_target(disk): str(volume_path(disk)) for disk in wanted}
    return Changes(
        unplug=tuple(target for target, file in live.disks.items() if files.get(target) != file),
        plug=tuple(disk for disk in wanted if live.disks.get(domain.disk_target(disk)) != str(volume_path(disk))),
        drive=live.iso != (str(iso) if iso is not None else ""),
        tune=tuple(disk for disk in wanted if live.limits.get(domain.disk_target(disk), {}) != domain.disk_limits(disk)),
    )


def holds(xml: str, volume: Path) -> bool:
    """Whether a running guest has this volume."""
    return str(volume) in read(xml).disks.values()


def apply(one: Any, disks: tuple[Disk, ...], iso: Path | None) -> None:
    """The domain's disks and drive are these. NotYet while the guest holds one that it shall not have."""
    libvirt = load()
    live_only = libvirt.VIR_DOMAIN_AFFECT_LIVE
    xml = one.XMLDesc(0)
    live = read(xml)
    todo, owner = changes(live, disks, iso), Owner(domain.owner_of(xml))
    for target in todo.unplug:
        _unplug(one, target)
    left = changes(read(one.XMLDesc(0)), disks, iso).unplug
    if left:
        raise NotYet(1, f"the guest has not let go of {left[0]} yet")
    give_disks(todo.plug, iso, owner)
    for disk in todo.plug:
        one.attachDeviceFlags(domain.disk_xml(disk), live_only)
    if todo.drive:
        if live.tray == "open":
            open_tray(one)
        one.updateDeviceFlags(domain.drive_xml(iso), live_only | libvirt.VIR_DOMAIN_DEVICE_MODIFY_FORCE)
    for disk in todo.tune:
        # A disk that was just plugged in has its limits, and is told them again.
        one.setBlockIoTune(domain.disk_target(disk), {**domain.no_limits(), **domain.disk_limits(disk)}, live_only)
    for disk in disks:
        target = domain.disk_target(disk)
        if one.blockInfo(target)[0] < disk.size:
            one.blockResize(target, disk.size, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)


def open_tray(one: Any) -> None:
    """The drive is open. libvirt hears of each opening, and would not open it again; that a reset, as firmware makes some, has
    shut it nobody tells, and into a drive that is shut nothing goes."""
    import libvirt_qemu

    drives = ElementTree.fromstring(one.XMLDesc(0)).findall("./devices/disk[@device='cdrom']/alias")
    words = {"execute": "blockdev-open-tray", "arguments": {"id": drives[0].get("name"), "force": True}}
    libvirt_qemu.qemuMonitorCommand(one, json.dumps(words), 0)


def _unplug(one: Any, target: str) -> None:
    libvirt = load()
    device = next(
        element
        for element in ElementTree.fromstring(one.XMLDesc(0)).findall("./devices/disk")
        if (found := element.find("target")) is not None and found.get("dev") == target
    )
    try:
        one.detachDeviceFlags(ElementTree.tostring(device, encoding="unicode"), libvirt.VIR_DOMAIN_AFFECT_LIVE)
    except libvirt.libvirtError as error:
        # It is being unplugged already, or has gone meanwhile.
        if error.get_error_code() not in (libvirt.VIR_ERR_OPERATION_FAILED, libvirt.VIR_ERR_DEVICE_MISSING):
            raise
