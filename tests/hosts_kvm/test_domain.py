"""The XML of a domain: what a spec becomes, and what must never be in it."""

from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest

from sysvm.hosts.kvm.domain import Label, Places, domain_name, domain_xml, label_of, label_of_name
from sysvm.hosts.kvm.power import power_of
from sysvm.wire.machines import Disk, ImageStoreMount, Kind, Power, Runtime, spec_digest
from tests.hosts.ground import nic, spec

SYSTEM = spec(10, runtime=Runtime.VM, nics=(nic(10), nic(11, device=1, mtu=1450)))
GUEST = spec(
    12,
    runtime=Runtime.VM,
    kind=Kind.GUEST,
    disks=(Disk(volume="v2", pool="/p", size=1, device=1), Disk(volume="v1", pool="/p", size=1)),
)
PLACES = Places(
    sockets=Path("/s"),
    console_log=Path("/c.log"),
    ports={0: "tap0", 1: "tap1"},
    iso=Path("/p/images/i.iso"),
    base=Path("/base"),
    modules=Path("/modules"),
    kernel=Path("/kernel"),
    initrd=Path("/initrd"),
    agent=Path("/agent"),
    boot=Path("/boot.img"),
    state=Path("/state.img"),
)


def xml(machine=SYSTEM, *, accelerated: bool = False) -> ElementTree.Element:
    """The domain, parsed."""
    return ElementTree.fromstring(domain_xml(machine, PLACES, host="h", accelerated=accelerated))


def disks(root: ElementTree.Element) -> list[tuple[str, str, bool]]:
    """Target, file and whether it is read-only, in order of the XML."""
    found = root.findall("devices/disk[@device='disk']")
    return [(d.find("target").get("dev"), d.find("source").get("file"), d.find("readonly") is not None) for d in found]


def test_a_system_vm_has_the_five_disks_that_its_initrd_expects():
    assert disks(xml()) == [
        ("vda", "/base", True),
        ("vdb", "/modules", True),
        ("vdc", "/agent", True),
        ("vdd", "/boot.img", True),
        ("vde", "/state.img", False),
    ]


def test_a_guest_has_its_volumes_by_device_and_boots_the_first():
    root = xml(GUEST)
    assert disks(root) == [("vda", "/p/volumes/v1.qcow2", False), ("vdb", "/p/volumes/v2.qcow2", False)]
    assert [boot.get("order") for boot in root.findall("devices/disk[@device='disk']/boot")] == ["1"]


def test_a_guest_that_boots_from_its_drive_tries_the_disk_next():
    root = xml(msgspec.structs.replace(GUEST, boot_from_iso=True))
    assert root.find("devices/disk[@device='cdrom']/boot").get("order") == "1"
    assert root.find("devices/disk[@device='disk']/boot").get("order") == "2"


def test_every_nic_is_a_tap_that_libvirt_does_not_manage():
    found = [(i.find("mac").get("address"), dict(i.find("target").attrib)) for i in xml().findall("devices/interface")]
    assert found == [
        ("02:00:00:00:00:0a", {"dev": "tap0", "managed": "no"}),
        ("02:00:00:00:01:0b", {"dev": "tap1", "managed": "no"}),
    ]
    assert [mtu.get("size") for mtu in xml().findall("devices/interface/mtu")] == ["1450"]


@pytest.mark.parametrize("machine", [SYSTEM, GUEST])
def test_nothing_listens_on_a_network(machine):
    root = xml(machine)
    assert [g.attrib for g in root.findall("devices/graphics")] == [{"type": "vnc", "socket": "/s/vnc.sock"}]
    assert {"unix"} == {d.get("type") for name in ("serial", "channel") for d in root.findall(f"devices/{name}")}
    assert "listen" not in ElementTree.tostring(root, encoding="unicode")


def test_each_has_a_channel_for_its_own_agent_and_only_guests_restart():
    assert [t.get("name") for t in xml().findall("devices/channel/target")] == ["org.sysvm.agent"]
    assert [t.get("name") for t in xml(GUEST).findall("devices/channel/target")] == ["org.qemu.guest_agent.0"]
    assert (xml().findtext("on_reboot"), xml(GUEST).findtext("on_reboot")) == ("destroy", "restart")


def test_kvm_and_emulation_differ_in_type_model_and_code_cache():
    emulated, fast = xml(), xml(accelerated=True)
    assert (
        emulated.get("type"), emulated.find("cpu").get("mode"), emulated.findtext("features/tcg/tb-cache")
    ) == ("qemu", "maximum", "192")  # fmt: skip
    assert "32" == xml(GUEST).findtext("features/tcg/tb-cache")
    assert (
        fast.get("type"), fast.find("cpu").get("mode"), fast.findtext("features/tcg/tb-cache")
    ) == ("kvm", "host-passthrough", None)  # fmt: skip


def test_a_store_is_a_share_with_its_own_tag_and_shared_memory():
    root = xml(msgspec.structs.replace(SYSTEM, stores=(ImageStoreMount(store="st", path="/x"),)))
    share = root.find("devices/filesystem")
    assert (
        share.find("driver").get("type"), share.find("source").get("dir"), share.find("target").get("dir")
    ) == ("virtiofs", "/x", "st")  # fmt: skip
    assert root.find("memoryBacking/access").get("mode") == "shared"


def test_the_label_survives_the_way_through_libvirt():
    label = Label(SYSTEM.machine, 1, spec_digest(SYSTEM), "h", "consoleproxy")
    assert label == label_of(domain_xml(SYSTEM, PLACES, host="h", accelerated=False))
    bare = f'<machine uuid="{SYSTEM.machine}" incarnation="1" spec="d" host="h" kind="guest"/>'
    assert Label(SYSTEM.machine, 1, "d", "h", "guest") == label_of(bare)
    assert Label(SYSTEM.machine, 7) == label_of_name(domain_name(SYSTEM.machine, 7))


def test_the_state_key_is_no_part_of_a_domain():
    assert "a secret" not in domain_xml(SYSTEM, PLACES, host="h", accelerated=False)


@pytest.mark.parametrize("name", ["<&\"'>", "] ]>", "ü"])
def test_names_cannot_break_out_of_the_xml(name):
    assert name == xml(msgspec.structs.replace(SYSTEM, name=name)).findtext("title")


@pytest.mark.parametrize(
    ("state", "reason", "power", "why"),
    [
        (0, 0, Power.UNKNOWN, ""),
        (1, 1, Power.RUNNING, ""),
        (3, 5, Power.RUNNING, "paused: a disk cannot be written, perhaps primary storage is full"),
        (3, 11, Power.STARTING, ""),
        (4, 1, Power.STOPPING, ""),
        (5, 2, Power.STOPPED, ""),
        (5, 6, Power.STOPPED, "it did not start"),
        (6, 1, Power.STOPPED, "crashed"),
        (99, 0, Power.UNKNOWN, ""),
    ],
)
def test_states_of_libvirt_are_ours(state, reason, power, why):
    assert (power, why) == power_of(state, reason)
