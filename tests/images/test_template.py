"""The template as it was built: what must be in it, what must not, and that it can be built again."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sysvm.images import AgentLayer, Template, agent_layer, agentlayer, build, cache_folder, list_templates
from sysvm.images import root as roots
from sysvm.images.commands import run
from sysvm.images.manifest import FILES, sha256
from sysvm.images.places import names_in
from sysvm.images.squashfs import LZ4, squash
from sysvm.images.tree import privileged, tree_digest
from sysvm.images.vm import PLAIN, plain

pytestmark = [pytest.mark.template, pytest.mark.root]


def test_every_package_is_listed(template: Template):
    """What dpkg says is installed stands in one of the two lists and in the manifest."""
    there = roots.installed(template.root)
    assert roots.unlisted(there) == []
    assert [(package.name, package.version) for package in there] == [
        (package.name, package.version) for package in template.manifest.packages
    ]


def test_no_file_gives_its_caller_rights(template: Template):
    """No setuid, no setgid, no capabilities."""
    assert privileged(template.root) == []


def test_there_are_no_secrets_and_nothing_of_the_build_host(template: Template):
    """Host keys, machine ids, resolver, and passwords that work."""
    assert roots.secrets_in(template.root) == []
    shadow = (template.root / "etc/shadow").read_text().splitlines()
    assert [line for line in shadow if line.split(":")[1] not in ("*", "!", "!*")] == []


def test_everything_belongs_to_a_user_of_the_image(template: Template):
    """No file of the builder's user."""
    users = {int(line.split(":")[2]) for line in (template.root / "etc/passwd").read_text().splitlines()}
    owners = {entry.lstat().st_uid for entry in template.root.rglob("*")}
    assert owners - users == set()


@pytest.mark.parametrize("folder", ["usr/share/man", "usr/share/doc", "usr/share/locale", "var/lib/apt", "etc/init.d"])
def test_what_nobody_reads_is_gone(template: Template, folder: str):
    """Documentation, languages, lists, other init systems."""
    assert not (template.root / folder).exists()


def test_the_manifest_tells_the_truth(template: Template):
    """SHA-256 of each file, digest of the tree, licences and package list beside it."""
    assert {name: sha256(template.folder / name) for name in FILES} == template.manifest.files
    assert tree_digest(template.root) == template.manifest.tree
    licences = (template.folder / "licences.txt").read_text()
    missing = [package.name for package in template.manifest.packages if f"===== {package.name} =====" not in licences]
    assert missing == []
    listed = (template.folder / "packages.txt").read_text().splitlines()
    assert len(listed) == len(template.manifest.packages) + len(template.manifest.boot_packages)


def test_the_manifest_says_which_drivers_the_kernel_has(template: Template):
    """Disks and network cards of QEMU, Xen and VMware can be found by the initrd."""
    where = {driver.name: driver.where for driver in template.manifest.drivers}
    needed = ["virtio_blk", "virtio_net", "xen-blkfront", "xen-netfront", "vmw_pvscsi", "vmxnet3"]
    assert {name: where[name] for name in needed} == dict.fromkeys(needed, "initrd")
    later = ["virtiofs", "l2tp_ppp", "ppp_async", "nfs"]
    assert {name: where[name] for name in later} == dict.fromkeys(later, "modules")
    assert template.vmlinuz.read_bytes()[:4] == b"\x7fELF"  # nothing is left for an emulated machine to unpack


def test_the_same_tree_gives_the_same_image(template: Template, tmp_path: Path):
    """Byte for byte what was built, on another day and in another folder."""
    squash(template.root, tmp_path / "again", keep_owners=True, plain=plain())
    assert sha256(tmp_path / "again") == template.manifest.files["base.squashfs"]


def test_everything_that_is_to_stay_uncompressed_is_there(template: Template):
    """A glob that finds nothing is a typing error, or the name of a library that has a new one."""
    assert [pattern for pattern in names_in(PLAIN) if not any(template.root.glob(pattern))] == []


def test_a_build_with_nothing_changed_does_nothing(template: Template):
    """No lists are fetched, nothing is installed."""
    said: list[str] = []
    build(cache_folder(), print)
    assert build(cache_folder(), said.append).version in [known.version for known in list_templates(cache_folder())]
    assert said == []


def test_an_agent_layer_with_nothing_changed_is_not_made_again(standin: AgentLayer):
    """The same folder, and nothing to say."""
    said: list[str] = []
    source = Path(__file__).parent / "standin"
    assert agent_layer(cache_folder(), said.append, source) == standin
    assert said == []


def test_the_same_agent_gives_the_same_image(standin: AgentLayer, tmp_path: Path):
    """Byte code has no time stamps in it."""
    squash(standin.root, tmp_path / "again", keep_owners=False, compression=LZ4, plain=agentlayer.PLAIN)
    assert sha256(tmp_path / "again") == sha256(standin.image)


@contextmanager
def mounted(template: Template, layer: AgentLayer) -> Iterator[Path]:
    """The template's root with an agent's layer over it."""
    with tempfile.TemporaryDirectory(prefix="sysvm-whole-") as place:
        lower = f"lowerdir={layer.root}:{template.root}"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", lower, place], check=True)
        try:
            yield Path(place)
        finally:
            subprocess.run(["umount", place], check=True)


@pytest.fixture(scope="module")
def whole(template: Template, standin: AgentLayer) -> Iterator[Path]:
    """A system VM's root, with the stand-in for an agent."""
    with mounted(template, standin) as place:
        yield place


@pytest.fixture(scope="module")
def real(template: Template) -> Iterator[Path]:
    """A system VM's root, with our agent."""
    with mounted(template, agent_layer(cache_folder(), print)) as place:
        yield place


PROGRAMS = [
    "dnsmasq",
    "haproxy",
    "apache2",
    "keepalived",
    "conntrackd",
    "conntrack",
    "charon-systemd",
    "swanctl",
    "xl2tpd",
    "pppd",
    "wg",
    "wireguard-go",
    "sshd",
    "ssh-keygen",
    "nft",
    "iptables",
    "ip6tables",
    "ip",
    "tc",
    "bridge",
    "ss",
    "qemu-img",
    "openssl",
    "mount",
    "mount.nfs",
    "umount",
    "modprobe",
    "s6-svscan",
    "s6-svc",
    "s6-log",
    "s6-svstat",
    "ping",
    "arping",
    "traceroute",
    "sysctl",
    "ps",
    "python3",
]


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_is_there(whole: Path, program: str):
    """What the agents start is on the PATH that PID 1 sets."""
    run("chroot", whole, "/usr/bin/env", "PATH=/usr/sbin:/usr/bin", "sh", "-c", f"command -v {program}")


def test_every_program_and_library_finds_what_it_is_linked_with(whole: Path):
    """Trimming took nothing that the loader would miss; Apache's modules and charon's plugins are among the libraries."""
    script = """for file in $(find /usr/bin /usr/sbin /usr/lib -type f '(' -perm -100 -o -name '*.so*' ')'); do
        missing=$(/lib64/ld-linux-x86-64.so.2 --list $file 2>&1 | grep -E 'not found|cannot open') && echo $file $missing
    done; true"""
    assert run("chroot", whole, "sh", "-c", script).splitlines() == []


def test_apache_loads_the_modules_it_serves_metadata_with(whole: Path):
    """Those that need the trimmed Unicode tables are gone; the others load."""
    names = {
        "mpm_event": "mpm_event_module",
        "authz_core": "authz_core_module",
        "rewrite": "rewrite_module",
        "alias": "alias_module",
        "ssl": "ssl_module",
        "headers": "headers_module",
    }
    loads = [
        word for name, symbol in names.items() for word in ("-C", f"LoadModule {symbol} /usr/lib/apache2/modules/mod_{name}.so")
    ]
    settings = [
        "-C",
        "ServerName localhost",
        "-C",
        "ServerRoot /var",
        "-C",
        "ErrorLog log/error",
        *loads,
        "-f",
        "/etc/environment",
    ]
    command = ["chroot", whole, "apache2", *settings, "-M"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Cannot load" not in done.stderr, done.stderr
    assert all(symbol in done.stdout for symbol in names.values()), done.stdout + done.stderr


IMPORTS = ("asyncio", "ssl", "json", "ctypes", "sqlite3", "lzma", "bz2", "zlib", "hashlib", "http.server", "ipaddress")
WHEELS = ("msgspec", "picows", "aiofastnet", "uvloop", "aiohttp", "structlog")


@pytest.mark.parametrize("module", (*IMPORTS, *WHEELS))
def test_python_imports(whole: Path, module: str):
    """The standard library's parts that agents use, and the wheels, by the command line of the agent's service."""
    code = f"import sys; sys.path.insert(0, '/usr/lib/sysvm/python'); import {module}"
    run("chroot", whole, "/usr/bin/python3", "-I", "-S", "-B", "-c", code)


@pytest.mark.parametrize("module", ("asyncio", "json", "xml.dom.minidom", "sysvm.agent.main", "msgspec", "aiohttp", "asyncssh"))
def test_python_imports_from_bundles(real: Path, module: str):
    """The library has one in the template, ours and the wheels have one in the agent's layer; the files are there too."""
    code = f"""import os, sys; sys.path.insert(0, '/usr/lib/sysvm/python')
from sysvm.agent import start; start.use(start.BUNDLES); import {module}
found = sys.modules['{module}']; print(type(found.__spec__.loader).__name__, os.path.exists(found.__file__))"""
    assert run("chroot", real, "/usr/bin/python3", "-I", "-S", "-B", "-c", code).split() == ["Loader", "True"]


def test_the_agent_starts_from_bundles(real: Path):
    """By the command line of its service, as far as a machine that was told nothing comes."""
    command = ["chroot", real, "/usr/bin/python3", "-I", "-S", "-B", "/usr/lib/sysvm/start.pyc"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert 'File "/usr/lib/sysvm/python/sysvm/agent/boot.py"' in done.stderr
    assert "No such file or directory: '/sysvm/boot" in done.stderr


def test_byte_code_is_used_as_it_is(whole: Path):
    """Every source of the agent and of Python has byte code that is never compared with it."""
    sources = [*(whole / "usr/lib/python3.11").rglob("*.py"), *(whole / "usr/lib/sysvm/python").rglob("*.py")]
    unchecked = b"\x01\x00\x00\x00"
    missing = []
    for source in sources:
        compiled = source.parent / "__pycache__" / f"{source.stem}.cpython-311.pyc"
        if not compiled.exists() or compiled.read_bytes()[4:8] != unchecked:
            missing.append(str(source.relative_to(whole)))
    assert missing == []
