"""What is checked in for the images, and the decisions about it, without building anything."""

import lzma
import os
import stat
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from sysvm.basics.errors import Refused
from sysvm.images import agentlayer, cpio, guest, kernel, places, root, template, tree
from sysvm.images.apt import Mirrors, mirrors_of
from sysvm.images.check import differences
from sysvm.images.commands import exclusive, new_folder, remove_tree
from sysvm.images.manifest import Manifest, Package

LISTS = [root.ASKED, root.PULLED, template.BOOT, guest.BOOT, guest.GUEST / "modules.txt"]


@pytest.mark.parametrize("listing", LISTS, ids=lambda file: file.name)
def test_a_list_names_nothing_twice(listing: Path):
    """Each package or module stands in its list once."""
    names = places.names_in(listing)
    assert sorted(set(names)) == sorted(names)


def test_every_package_that_is_asked_for_says_why():
    """A name in packages.txt has a reason after it, and is not also listed as pulled in."""
    lines = [line for line in root.ASKED.read_text().splitlines() if line and line[0] != "#"]
    assert [line for line in lines if not line.partition("#")[2].strip()] == []
    assert set(places.names_in(root.ASKED)) & set(places.names_in(root.PULLED)) == set()


def test_host_packages_are_plain_names():
    """The Makefile hands the file to apt-get as it is."""
    lines = (places.RECIPES / "host-packages.txt").read_text().splitlines()
    assert [line for line in lines if line != line.strip() or not line or "#" in line] == []


def test_every_wheel_of_the_agent_is_pinned_with_its_hash():
    """pip would refuse others, and a build would depend on the day."""
    lines = [line for line in agentlayer.REQUIREMENTS.read_text().splitlines() if line[0] != "#"]
    assert [line for line in lines if "==" not in line or "--hash=sha256:" not in line] == []


@pytest.mark.parametrize("script", sorted(places.RECIPES.rglob("*")), ids=lambda file: str(file.relative_to(places.RECIPES)))
def test_every_script_can_be_parsed_and_run(script: Path):
    """Files that start with #! are executable, and sh finds no fault in them."""
    if not script.is_file() or not script.read_bytes().startswith(b"#!"):
        return
    assert os.access(script, os.X_OK) or script.name == "initrd-init"
    assert subprocess.run(["sh", "-n", script], capture_output=True, check=False).stderr == b""


SOURCES = {
    "": Mirrors(),
    "deb http://ftp.de.debian.org/debian bookworm main": Mirrors(main="http://ftp.de.debian.org/debian"),
    "# deb http://old.example/debian bookworm main": Mirrors(),
    "deb [signed-by=/k] https://m.example/debian/ bookworm main\ndeb https://m.example/debian-security bookworm-security main": (
        Mirrors("https://m.example/debian", "https://m.example/debian-security")
    ),
    "Types: deb\nURIs: http://a.example/debian\nSuites: bookworm\nComponents: main": Mirrors("http://a.example/debian"),
    "deb https://deb.nodesource.com/node_20.x nodistro main": Mirrors(),
}


@pytest.mark.parametrize("sources", SOURCES)
def test_the_mirror_is_the_one_that_the_host_uses(sources: str):
    """One-line and deb822 entries; other archives and comments are passed over."""
    assert mirrors_of(sources) == SOURCES[sources]


DEPENDENCIES = kernel.parse_dependencies(
    [
        "kernel/d/virtio_blk.ko: kernel/v/virtio_ring.ko kernel/v/virtio.ko",
        "kernel/d/xen-blkfront.ko:",
        "kernel/v/virtio_ring.ko:",
        "kernel/v/virtio.ko: kernel/v/virtio_ring.ko",
    ]
)


def test_modules_are_loaded_after_those_they_need():
    """modules.dep names what is needed last first."""
    order = kernel.loading_order(DEPENDENCIES, ["virtio-blk"], set())
    assert order == ["kernel/v/virtio.ko", "kernel/v/virtio_ring.ko", "kernel/d/virtio_blk.ko"]


def test_a_module_that_is_loaded_or_built_in_is_not_loaded_again():
    """Groups of the initrd share what the first one loads; a name that is no module is built in."""
    loaded = {"kernel/v/virtio.ko", "kernel/v/virtio_ring.ko"}
    assert kernel.loading_order(DEPENDENCIES, ["virtio_blk", "ext4"], loaded) == ["kernel/d/virtio_blk.ko"]


def test_a_signature_is_cut_off_and_nothing_else():
    """The kernel's format: module, signature, 12 bytes that end with the signature's length, the magic line."""
    magic = b"~Module signature appended~\n"
    signed = b"module" + b"s" * 300 + b"\x00" * 8 + (300).to_bytes(4, "big") + magic
    assert kernel.without_signature(signed) == b"module"
    assert kernel.without_signature(b"module") == b"module"


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A tree with a folder, a program, a file and a link."""
    top = tmp_path / "tree"
    (top / "bin").mkdir(parents=True)
    (top / "bin/run").write_text("#!/bin/sh\n")
    (top / "bin/run").chmod(0o755)
    (top / "note").write_text("x")
    (top / "bin/link").symlink_to("run")
    return top


def test_an_initrd_is_an_archive_that_cpio_reads(small: Path, tmp_path: Path):
    """Names, modes, links and contents survive; owners are root."""
    busybox = ["busybox", "cpio", "-idm"]
    out = tmp_path / "out"
    out.mkdir()
    subprocess.run(busybox, input=cpio.pack(small), cwd=out, check=True, capture_output=True)
    assert (out / "bin/run").stat().st_mode & 0o777 == 0o755
    assert (out / "bin/link").readlink() == Path("run")
    assert (out / "note").read_text() == "x"


def test_an_initrd_does_not_depend_on_the_umask(small: Path):
    """A clone made with umask 077 gives the same bytes."""
    before = cpio.pack(small)
    (small / "note").chmod(0o600)
    (small / "bin").chmod(0o700)
    assert cpio.pack(small) == before


def test_the_rights_of_programs_are_found_and_taken_away(small: Path):
    """setuid and setgid files; folders may keep their setgid."""
    (small / "bin/run").chmod(0o4755)
    (small / "note").chmod(0o2644)
    (small / "bin").chmod(0o2755)
    assert tree.privileged(small) == [Path("note"), Path("bin/run")]
    tree.drop_privileges(small)
    assert tree.privileged(small) == []
    assert stat.S_IMODE((small / "bin").stat().st_mode) == 0o2755


def test_trimming_removes_folders_files_and_links_and_forgives_what_is_missing(small: Path):
    """Globs are relative to the tree; a link is removed, not what it points to."""
    tree.trim(small, ("bin/li*", "nothing/*", "note"))
    assert [str(entry.relative_to(small)) for entry in tree.everything(small)] == ["bin", "bin/run"]


def test_a_tree_has_another_digest_when_anything_of_it_changes(small: Path):
    """Content, modes, names and links count; time stamps do not."""
    seen = {tree.tree_digest(small)}
    os.utime(small / "note", (1, 1))
    assert tree.tree_digest(small) in seen
    for change in (
        lambda: (small / "note").write_text("y"),
        lambda: (small / "note").chmod(0o600),
        lambda: (small / "note").rename(small / "memo"),
        lambda: ((small / "bin/link").unlink(), (small / "bin/link").symlink_to("other")),
    ):
        change()
        assert tree.tree_digest(small) not in seen
        seen.add(tree.tree_digest(small))


STATUS = """Package: {name}
Status: install ok installed
Architecture: amd64
Version: 1
"""


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    """A root that keeps the promises: one listed package, nothing else."""
    (tmp_path / "var/lib/dpkg").mkdir(parents=True)
    (tmp_path / "var/lib/dpkg/status").write_text(STATUS.format(name="bash"))
    return tmp_path


BASH = (Package("bash", "1"),)


def test_a_sound_root_passes_the_audit(sound: Path):
    """Nothing to object to."""
    root.audit(sound, BASH)


def _setuid(place: Path) -> None:
    (place / "su").touch()
    (place / "su").chmod(0o4755)


def _host_key(place: Path) -> None:
    (place / "etc/ssh").mkdir(parents=True)
    (place / "etc/ssh/ssh_host_rsa_key").touch()


def _machine_id(place: Path) -> None:
    (place / "etc").mkdir()
    (place / "etc/machine-id").touch()


def _stowaway(place: Path) -> None:
    with (place / "var/lib/dpkg/status").open("a") as status:
        status.write("\n" + STATUS.format(name="telnetd"))


FAULTS = {
    _setuid: "su gives its caller rights",
    _host_key: "etc/ssh/ssh_host_rsa_key must not be in an image",
    _machine_id: "etc/machine-id must not be in an image",
    _stowaway: "package telnetd is not in images/packages-pulled.txt",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__.strip("_"))
def test_the_audit_refuses(sound: Path, fault):
    """Each fault is named in the refusal."""
    fault(sound)
    with pytest.raises(Refused, match=FAULTS[fault]):
        root.audit(sound, BASH)


def test_the_audit_refuses_another_version_than_was_resolved(sound: Path):
    """The key promised a version."""
    with pytest.raises(Refused, match="package bash 2 was not expected or is missing"):
        root.audit(sound, (Package("bash", "2"),))


def _manifest(*packages: Package) -> Manifest:
    return Manifest("v", "k", "r", "2026", {}, "6.1", packages, (), (), "t", {})


def test_a_check_names_what_is_newer_and_puts_security_first():
    """Changed, new and vanished packages; equal ones are not mentioned."""
    built = _manifest(Package("a", "1"), Package("b", "1"), Package("c", "1"), Package("gone", "1"))
    offered = (
        Package("a", "1"),
        Package("b", "2", archive="Debian:12/stable"),
        Package("c", "2", archive="Debian-Security:12/stable-security"),
        Package("new", "1"),
    )
    assert [str(change) for change in differences(built, offered)] == [
        "c: 1 -> 2 (security)",
        "b: 1 -> 2 (main)",
        "gone: 1 -> gone (main)",
        "new: not there -> 1 (main)",
    ]


def test_the_key_of_a_template_changes_with_recipe_packages_and_kernel():
    """And with nothing else."""
    one, two = (Package("a", "1"),), (Package("a", "2"),)
    keys = [template.template_key(*facts) for facts in (("r", one, one), ("s", one, one), ("r", two, one), ("r", one, two))]
    assert len(set(keys)) == 4
    assert template.template_key("r", one, one) == keys[0]


@pytest.mark.parametrize(
    ("form", "expected"), [(lzma.FORMAT_XZ, b"\x7fELF kernel"), (lzma.FORMAT_ALONE, None)], ids=["xz", "packed otherwise"]
)
def test_a_kernel_that_is_packed_with_xz_is_unpacked(form: int, expected: bytes | None):
    """As the boot protocol says where it is: behind the setup sectors, with its length behind it. Others stay as they are."""
    packed = lzma.compress(b"\x7fELF kernel", form) + b"\x0c\0\0\0"
    image = bytearray(512 * 3 + 64)
    image[0x1F1] = 2
    image[0x248:0x250] = struct.pack("<II", 64, len(packed))
    whole = bytes(image) + packed + b"more"
    assert kernel.unpacked(whole) == (expected or whole)


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path):
    """An exception leaves nothing; what a killed build left is removed by the next."""
    (tmp_path / ".new-1-v").mkdir()
    with pytest.raises(RuntimeError), new_folder(tmp_path / "v") as folder:
        (folder / "half").touch()
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with new_folder(tmp_path / "v") as folder:
        (folder / "whole").touch()
    assert [entry.name for entry in tmp_path.iterdir()] == ["v"]


def test_a_second_build_waits_for_the_first(tmp_path: Path):
    """Another process gets the lock only after this one gave it back, and says that it waits."""
    code = (
        "import sys; from pathlib import Path; from sysvm.images.commands import exclusive\n"
        "with exclusive(Path(sys.argv[1]), lambda text: print(text, flush=True)): print('mine', flush=True)"
    )
    with exclusive(tmp_path, print):
        other = subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE, text=True)
        assert other.stdout is not None
        assert other.stdout.readline() == "another build is running; waiting for it\n"
        assert other.poll() is None
    assert other.stdout.readline() == "mine\n"
    assert other.wait() == 0


@pytest.mark.root
def test_a_tree_with_a_mount_in_it_is_not_removed(tmp_path: Path):
    """Removing it would empty what is mounted."""
    place = tmp_path / "tree/proc"
    place.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", place], check=True)
    try:
        with pytest.raises(Refused, match="still mounted"):
            remove_tree(tmp_path / "tree")
    finally:
        subprocess.run(["umount", place], check=True)
    remove_tree(tmp_path / "tree")
    assert list(tmp_path.iterdir()) == []


def test_the_guests_disk_has_one_active_partition():
    """From sector 2048 to its end, as the BIOS reads it."""
    record = guest.master_boot_record(b"\x90" * 440, 98304)
    assert len(record) == 512
    assert record[:440] == b"\x90" * 440
    assert record[446] == 0x80
    assert int.from_bytes(record[454:458], "little") == 2048
    assert int.from_bytes(record[458:462], "little") == 98304 - 2048
    assert record[510:] == b"\x55\xaa"
