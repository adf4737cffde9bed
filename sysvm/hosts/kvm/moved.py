"""A running domain as the host that takes it in shall have it: the same machine, with that host's files, sockets and ports.

Pure. libvirt compares what the guest can see (addresses of devices, models, its UUID), so the domain that runs is taken and only
what is outside of it is changed.
"""

from collections.abc import Iterator
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from sysvm.hosts.kvm import domain
from sysvm.hosts.layout import volume_path
from sysvm.wire.machines import LandingPlace, MachineSpec


def moved_xml(live: str, there: MachineSpec, place: LandingPlace) -> str:
    """The domain for the other host, from the one that runs here."""
    root = ElementTree.fromstring(live)
    _label(root, there, place)
    _disks(root, there, place)
    _interfaces(root, there, place)
    _sockets(root, place)
    domain.set_owner(root, place.owner)
    return ElementTree.tostring(root, encoding="unicode")


def disk_targets(there: MachineSpec, copied: tuple[str, ...]) -> list[str]:
    """What libvirt calls the disks whose bytes go along."""
    return [domain.disk_target(disk) for disk in there.disks if disk.volume in copied]


def _label(root: Element, there: MachineSpec, place: LandingPlace) -> None:
    tag = f"{{{domain.METADATA}}}machine"
    for found in root.iterfind(f"./metadata/{tag}"):
        found.attrib.update(domain.label_values(there, place.mark))


def _disks(root: Element, there: MachineSpec, place: LandingPlace) -> None:
    files = {domain.disk_target(disk): str(volume_path(disk)) for disk in there.disks}
    for disk in root.iterfind("./devices/disk"):
        target, source = disk.find("target"), disk.find("source")
        for child in [*disk.iterfind("backingStore"), *disk.iterfind("mirror")]:
            disk.remove(child)  # what it stands on is that host's to find out
        file = place.iso if disk.get("device") == "cdrom" else files[str(target.get("dev")) if target is not None else ""]
        if source is not None and not file:
            disk.remove(source)
        elif source is not None:
            source.attrib = {"file": file}
            for child in list(source):
                source.remove(child)


def _interfaces(root: Element, there: MachineSpec, place: LandingPlace) -> None:
    ports = {nic.mac.lower(): place.ports[str(nic.device)] for nic in there.nics}
    for interface in root.iterfind("./devices/interface"):
        mac, target = interface.find("mac"), interface.find("target")
        if mac is not None and target is not None:
            target.set("dev", ports[str(mac.get("address")).lower()])


def _sockets(root: Element, place: LandingPlace) -> None:
    for element in _with_paths(root):
        for name in ("path", "socket"):
            if (path := element.get(name)) is not None:
                element.set(name, f"{place.sockets}/{path.rpartition('/')[2]}")
    for log in [*root.iterfind("./devices/serial/log"), *root.iterfind("./devices/console/log")]:
        log.set("file", place.console_log)


def _with_paths(root: Element) -> Iterator[Element]:
    for kind in ("serial", "console", "channel"):
        yield from root.iterfind(f"./devices/{kind}/source")
    yield from root.iterfind("./devices/graphics")
    yield from root.iterfind("./devices/graphics/listen")
