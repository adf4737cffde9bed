"""A machine's spec as a libvirt domain, by pure functions. What a look reads back is in the domain's metadata.

A system VM boots the template's kernel directly; its disks are, in this order, the template's root, the kernel's modules, the
agent, the boot data (all read-only), and its state. A guest boots its first disk or the image in its drive.
No device listens on a network: screen, serial line and agent channel are unix sockets in a folder of the host.
There is no USB, no balloon and no network boot: each costs time at boot or idle CPU under emulation, and nobody uses them.

Deliberately the same for KVM and TCG but for three things: the domain's type, the model of its CPU, and the bound on TCG's
code cache (instead of a share of memory: it is most of what a small emulated VM costs). 192 MiB for a system VM, because its
boot fills 150, and translating everything again is a third of its CPU; 32 for a guest.
"""

import uuid
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import msgspec

from sysvm.hosts.layout import volume_path
from sysvm.wire.machines import Disk, Kind, MachineSpec, Nic, spec_digest

METADATA = "https://sysvm.org/domain/1"
AGENT_PORT = "org.sysvm.agent"
GUEST_AGENT_PORT = "org.qemu.guest_agent.0"
EMULATOR = "/usr/bin/qemu-system-x86_64"
DRIVE = "hdc"
# Said on all its ports: switches learn where it is.
ANNOUNCE = '{"execute": "announce-self", "arguments": {"initial": 50, "max": 550, "rounds": 5, "step": 100}}'
# A processor that is emulated beside others may miss the ticks by which a kernel tests its timer, and panics then.
# acpi=noirq: setting up an interrupt link costs 0.2 s for each PCI device under emulation, and we have seven.
KERNEL_LINE = "console=ttyS0 quiet panic=-1 net.ifnames=0 no_timer_check acpi=noirq"
# What an emulated kernel may leave out: tests of its ciphers (0.2 s), the names of its functions for tracing (0.1 s), and taking
# the locks out of its code because it has one processor (0.15 s; they cost it nothing).
EMULATED_LINE = f"{KERNEL_LINE} cryptomgr.notests initcall_blacklist=init_kprobe_trace noreplace-smp"
# Fast copies of strings by the byte: emulated they are the slowest there are, and kernels take them where they see them.
_SLOW_EMULATED = ("erms", "fsrm")
_TCG_CACHE_MIB, _TCG_CACHE_OF_GUEST_MIB = 192, 32
_PREFIX = f"{{{METADATA}}}"

ElementTree.register_namespace("sysvm", METADATA)


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where on this host the parts of one incarnation are. The template's parts are needed for system VMs only."""

    sockets: Path
    console_log: Path
    ports: dict[int, str]  # tap of each NIC, by device
    iso: Path | None = None
    base: Path | None = None
    modules: Path | None = None
    kernel: Path | None = None
    initrd: Path | None = None
    agent: Path | None = None
    boot: Path | None = None
    state: Path | None = None

    @property
    def vnc(self) -> Path:
        """RFB is spoken here."""
        return self.sockets / "vnc.sock"

    @property
    def serial(self) -> Path:
        """The serial line."""
        return self.sockets / "serial.sock"

    @property
    def channel(self) -> Path:
        """The agent's virtio-serial port."""
        return self.sockets / "agent.sock"

    @property
    def guest_agent(self) -> Path:
        """The same for a guest's own agent."""
        return self.sockets / "guest-agent.sock"


@dataclass(frozen=True, slots=True)
class Label:
    """What a domain says about itself."""

    machine: str
    incarnation: int
    spec: str = ""
    host: str = ""
    kind: str = ""


# ---------------------------------------------------------------- names and labels
def domain_name(machine: str, incarnation: int) -> str:
    """libvirt's name of an incarnation."""
    return f"{machine}-{incarnation}"


def domain_uuid(host: str, machine: str, incarnation: int) -> str:
    """libvirt's UUID of an incarnation; the same at every definition."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{METADATA}/{host}/{machine}/{incarnation}"))


def label_of(xml: str) -> Label | None:
    """The label of a domain (or of its metadata element alone); None when it is not one of ours."""
    root = ElementTree.fromstring(xml)
    # libvirt hands out a metadata element without its namespace
    found = root if root.tag in ("machine", f"{_PREFIX}machine") else root.find(f"./metadata/{_PREFIX}machine")
    if found is None:
        return None
    try:
        return Label(
            found.attrib["uuid"],
            int(found.attrib["incarnation"]),
            found.attrib["spec"],
            found.attrib["host"],
            found.attrib["kind"],
        )
    except (KeyError, ValueError):
        return None


def label_of_name(name: str) -> Label | None:
    """What can be told from the name alone."""
    machine, _, incarnation = name.rpartition("-")
    return Label(machine, int(incarnation)) if machine and incarnation.isdecimal() else None


# ---------------------------------------------------------------- the domain
def domain_xml(spec: MachineSpec, places: Places, *, host: str, accelerated: bool, owner: str = "", uuid: str = "") -> str:
    """The domain of one incarnation; `host` is the hash that tells this host from others on the machine, `owner` as whom its
    QEMU runs, `uuid` what libvirt knows it by already."""
    domain = Element("domain", type="kvm" if accelerated else "qemu")
    _text(domain, "name", domain_name(spec.machine, spec.incarnation))
    _text(domain, "uuid", uuid or domain_uuid(host, spec.machine, spec.incarnation))
    _text(domain, "title", spec.name)
    _label(domain, spec, host)
    _resources(domain, spec)
    _start(domain, spec, places, accelerated)
    _machine(domain, spec, accelerated)
    devices = SubElement(domain, "devices")
    _text(devices, "emulator", EMULATOR)
    _disks(devices, spec, places)
    for nic in spec.nics:
        _interface(devices, nic, places.ports[nic.device])
    _lines(devices, spec, places)
    _rest(devices, spec, places)
    set_owner(domain, owner)
    return ElementTree.tostring(domain, encoding="unicode")


def set_owner(domain: Element, owner: str) -> None:
    """QEMU runs as this user and group, whoever it ran as elsewhere; as libvirt's own when it is empty. Files are given to him
    by us (owners.py)."""
    for label in domain.findall("./seclabel"):
        domain.remove(label)
    if owner:
        seclabel = SubElement(domain, "seclabel", type="static", model="dac", relabel="no")
        _text(seclabel, "label", owner)


def owner_of(xml: str) -> int:
    """The user that a domain's QEMU runs as."""
    found = ElementTree.fromstring(xml).findtext("./seclabel[@model='dac']/label", "+0:+0")
    return int(found.partition(":")[0].removeprefix("+"))


def _text(parent: Element, tag: str, value: object, **attributes: str) -> Element:
    element = SubElement(parent, tag, attributes)
    element.text = str(value)
    return element


def _label(domain: Element, spec: MachineSpec, host: str) -> None:
    SubElement(SubElement(domain, "metadata"), f"{_PREFIX}machine", label_values(spec, host))


def label_xml(spec: MachineSpec, host: str) -> str:
    """The label alone."""
    return ElementTree.tostring(Element("machine", label_values(spec, host)), encoding="unicode")


def label_values(spec: MachineSpec, host: str) -> dict[str, str]:
    """What the label says."""
    return {
        "uuid": spec.machine,
        "incarnation": str(spec.incarnation),
        "spec": spec_digest(spec),
        "host": host,
        "kind": spec.kind.value,
    }


def _resources(domain: Element, spec: MachineSpec) -> None:
    _text(domain, "memory", spec.memory_mb, unit="MiB")
    _text(domain, "vcpu", spec.cpus, placement="static")
    if spec.stores:
        # virtiofs reads and writes the guest's memory from a process of its own
        backing = SubElement(domain, "memoryBacking")
        SubElement(backing, "source", type="memfd")
        SubElement(backing, "access", mode="shared")


def _start(domain: Element, spec: MachineSpec, places: Places, accelerated: bool) -> None:
    start = SubElement(domain, "os")
    _text(start, "type", "hvm", arch="x86_64", machine="pc")
    if spec.kind is not Kind.GUEST:
        _text(start, "kernel", places.kernel)
        _text(start, "initrd", places.initrd)
        _text(start, "cmdline", KERNEL_LINE if accelerated else EMULATED_LINE)


def _machine(domain: Element, spec: MachineSpec, accelerated: bool) -> None:
    features = SubElement(domain, "features")
    SubElement(features, "acpi")
    SubElement(features, "apic")
    if not accelerated:
        mib = _TCG_CACHE_OF_GUEST_MIB if spec.kind is Kind.GUEST else _TCG_CACHE_MIB
        _text(SubElement(features, "tcg"), "tb-cache", mib, unit="MiB")
    processor = SubElement(domain, "cpu", mode="host-passthrough" if accelerated else "maximum")
    for feature in () if accelerated else _SLOW_EMULATED:
        SubElement(processor, "feature", policy="disable", name=feature)
    SubElement(domain, "clock", offset="utc")
    _text(domain, "on_poweroff", "destroy")
    # A guest may restart itself; a system VM that ends is replaced or started by whoever looks after it.
    _text(domain, "on_reboot", "restart" if spec.kind is Kind.GUEST else "destroy")
    _text(domain, "on_crash", "destroy")


# ---------------------------------------------------------------- disks
def _disks(devices: Element, spec: MachineSpec, places: Places) -> None:
    if spec.kind is Kind.GUEST:
        _guest_disks(devices, spec, places)
        return
    for letter, file in zip("abcd", (places.base, places.modules, places.agent, places.boot), strict=True):
        disk = _disk(devices, file, f"vd{letter}", "raw")
        SubElement(disk, "readonly")
        SubElement(disk, "shareable")
    _disk(devices, places.state, "vde", "raw")


def _guest_disks(devices: Element, spec: MachineSpec, places: Places) -> None:
    order = 1
    drive = _drive(devices, places.iso)
    if spec.boot_from_iso:
        SubElement(drive, "boot", order="1")
        order = 2
    for position, disk in enumerate(sorted(spec.disks, key=_device)):
        element = _volume(devices, disk)
        if position == 0:
            SubElement(element, "boot", order=str(order))


def _device(disk: Disk) -> int:
    return disk.device


def disk_target(disk: Disk) -> str:
    """What the guest calls it, if it counts as we do."""
    return f"vd{chr(ord('a') + disk.device)}"


def disk_xml(disk: Disk) -> str:
    """A guest's volume as a device that comes or goes while it runs."""
    return ElementTree.tostring(_volume(Element("devices"), disk), encoding="unicode")


def drive_xml(iso: Path | None) -> str:
    """A guest's drive with another image in it, or none."""
    return ElementTree.tostring(_drive(Element("devices"), iso), encoding="unicode")


def _drive(devices: Element, iso: Path | None) -> Element:
    drive = SubElement(devices, "disk", type="file", device="cdrom")
    SubElement(drive, "driver", name="qemu", type="raw")
    if iso is not None:
        SubElement(drive, "source", file=str(iso))
    SubElement(drive, "target", dev=DRIVE, bus="ide")
    SubElement(drive, "readonly")
    return drive


def _volume(devices: Element, disk: Disk) -> Element:
    element = _disk(devices, volume_path(disk), disk_target(disk), disk.format)
    _text(element, "serial", disk.volume.replace("-", "")[:20])
    if limits := disk_limits(disk):
        tune = SubElement(element, "iotune")
        for name, value in limits.items():
            _text(tune, name, value)
    return element


_LIMITS = {
    f"{way}_{unit}{ours}": f"{way}_{unit}_sec{theirs}"
    for way in ("read", "write")
    for unit in ("bytes", "iops")
    for ours, theirs in (("", ""), ("_peak", "_max"), ("_seconds", "_max_length"))
}


def disk_limits(disk: Disk) -> dict[str, int]:
    """How fast it may be, as libvirt has it; what is not limited is left out."""
    found = msgspec.structs.asdict(disk.limits) if disk.limits is not None else {}
    return {name: found[ours] for ours, name in _LIMITS.items() if found.get(ours)}


def no_limits() -> dict[str, int]:
    """The same of a disk that is as fast as it is."""
    return dict.fromkeys(_LIMITS.values(), 0)


def _disk(devices: Element, file: Path | None, target: str, fmt: str) -> Element:
    disk = SubElement(devices, "disk", type="file", device="disk")
    SubElement(disk, "driver", name="qemu", type=fmt, discard="unmap")
    SubElement(disk, "source", file=str(file))
    SubElement(disk, "target", dev=target, bus="virtio")
    return disk


# ---------------------------------------------------------------- NICs, lines, the rest
def _interface(devices: Element, nic: Nic, port: str) -> None:
    interface = SubElement(devices, "interface", type="ethernet")
    SubElement(interface, "mac", address=nic.mac)
    SubElement(interface, "target", dev=port, managed="no")
    SubElement(interface, "model", type="virtio")
    if nic.mtu != 1500:
        SubElement(interface, "mtu", size=str(nic.mtu))
    SubElement(interface, "rom", enabled="no")


def _lines(devices: Element, spec: MachineSpec, places: Places) -> None:
    serial = SubElement(devices, "serial", type="unix")
    SubElement(serial, "source", mode="bind", path=str(places.serial))
    SubElement(serial, "log", file=str(places.console_log), append="on")
    SubElement(serial, "target", port="0")
    # A guest's agent (qemu-ga), if it has one, is asked to be still while a snapshot begins, and nothing else.
    guest = spec.kind is Kind.GUEST
    channel = SubElement(devices, "channel", type="unix")
    SubElement(channel, "source", mode="bind", path=str(places.guest_agent if guest else places.channel))
    SubElement(channel, "target", type="virtio", name=GUEST_AGENT_PORT if guest else AGENT_PORT)


def _rest(devices: Element, spec: MachineSpec, places: Places) -> None:
    SubElement(devices, "controller", type="usb", model="none")
    SubElement(devices, "graphics", type="vnc", socket=str(places.vnc))
    SubElement(SubElement(devices, "video"), "model", type="vga", vram="16384" if spec.kind is Kind.GUEST else "2048")
    if spec.kind is Kind.GUEST:
        SubElement(devices, "input", type="tablet", bus="virtio")
    for store in spec.stores:
        share = SubElement(devices, "filesystem", type="mount", accessmode="passthrough")
        SubElement(share, "driver", type="virtiofs")
        SubElement(share, "source", dir=store.path)
        SubElement(share, "target", dir=store.store)
    SubElement(devices, "memballoon", model="none")
    _text(SubElement(devices, "rng", model="virtio"), "backend", "/dev/urandom", model="random")
