"""The agent as a layer of its own over the template's root: our Python and the wheels it imports, compiled.

Apart from the root because it changes with every commit: making it takes under a second once the wheels are there. Its
digest is over the checked-in list of wheels (each with its hash) and our sources, so equal sources give the same layer.
Byte code is compiled by this interpreter, which therefore must be of the template's version; it is never compared with
its source (unchecked hashes), and holds the paths that it has inside a system VM.
"""

import compileall
import hashlib
import py_compile
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from sysvm.basics.errors import Refused, Why
from sysvm.images import bundle, claims, squashfs, tree
from sysvm.images.commands import Progress, exclusive, new_folder, run
from sysvm.images.places import RECIPES, SOURCE

REQUIREMENTS = RECIPES / "agent-requirements.txt"
PLACE = "usr/lib/sysvm/python"
BUNDLE = "usr/lib/sysvm/agent.bundle"
PLAIN = ("name(agent.bundle)",)  # every start reads it
START = "usr/lib/sysvm/start.pyc"
PROGRAMS = "usr/bin"  # what an operator calls inside; from sysvm/agent/programs
_OURS = ("__init__.py", "agent", "basics", "web", "wire")
_PYTHON = (3, 11)
_PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
# What pip writes beside a package that differs between machines or that nobody imports.
_LITTER = ("bin", "*.dist-info/RECORD", "*.dist-info/INSTALLER", "*.dist-info/REQUESTED", "*.dist-info/direct_url.json")
_SOURCES = ("**/*.c", "**/*.pyx", "**/*.pxd", "**/*.pxi", "**/*.h", "**/tests")


@dataclass(frozen=True, slots=True)
class AgentLayer:
    """A built agent layer."""

    folder: Path

    @property
    def digest(self) -> str:
        """The identity of its content."""
        return self.folder.name

    @property
    def root(self) -> Path:
        """The tree for containers: a lower layer above the template's root."""
        return self.folder / "root"

    @property
    def image(self) -> Path:
        """The same as a squashfs: the third disk of a VM."""
        return self.folder / "agent.squashfs"


def _silent(_: str) -> None:
    return


def layer_digest(source: Path = SOURCE) -> str:
    """The identity of the layer that the present sources make."""
    code = (Path(__file__), Path(bundle.__file__), Path(squashfs.__file__))
    parts = [tree.content_digest(REQUIREMENTS, *code), tree.content_digest(*(source / name for name in _OURS))]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def agent_layer(cache: Path, progress: Progress = _silent, source: Path = SOURCE) -> AgentLayer:
    """The layer of the present sources; made unless it is there."""
    layer = AgentLayer(cache / "agents" / layer_digest(source))
    if claims.claim(cache, claims.AGENTS, layer.digest) and layer.image.exists():
        return layer
    if sys.version_info[:2] != _PYTHON:
        raise Refused("the agent's byte code is made by Python 3.11, the template's: run this with it", Why.UNAVAILABLE)
    with exclusive(cache / "agents", progress):
        if layer.image.exists():
            return layer
        wheels = _wheels(cache / "agents", progress)
        progress(f"packing the agent {layer.digest}")
        with new_folder(layer.folder) as folder:
            python = folder / "root" / PLACE
            python.parent.mkdir(parents=True)
            shutil.copytree(wheels, python, copy_function=_link)
            _put_ours(source, python / "sysvm")
            _put_programs(source / "agent/programs", folder / "root" / PROGRAMS)
            if layer_digest(source) != layer.digest:
                raise Refused("the agent's sources changed while they were packed: run it again", Why.BUSY)
            _put_start(python / "sysvm", folder / "root")
            bundle.write_bundle(python, f"/{PLACE}", folder / "root" / BUNDLE)
            tree.settle_times(folder / "root")
            squashfs.squash(
                folder / "root",
                folder / "agent.squashfs",
                keep_owners=False,
                compression=squashfs.LZ4,
                plain=PLAIN,
            )
    return layer


def _link(source: str, place: str) -> None:
    Path(place).hardlink_to(source)


def _put_ours(source: Path, place: Path) -> None:
    place.mkdir()
    for name in _OURS:
        if (source / name).is_dir():
            shutil.copytree(source / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source / name, place / name)
    for entry in tree.everything(place):
        entry.chmod(0o755 if entry.is_dir() else 0o644)
    _compile(place, f"/{PLACE}/sysvm")


def _put_start(ours: Path, root: Path) -> None:
    """`sysvm.agent.start` as a program: byte code outside of the package, for it is what makes the package importable."""
    shutil.copyfile(ours / "agent/__pycache__/start.cpython-311.pyc", root / START)


def _put_programs(source: Path, place: Path) -> None:
    place.mkdir(parents=True)
    for program in sorted(source.glob("*")):  # a source without programs has none
        shutil.copyfile(program, place / program.name)
        (place / program.name).chmod(0o755)


def _compile(place: Path, inside: str) -> None:
    compiled = compileall.compile_dir(
        place,
        quiet=2,
        force=True,
        stripdir=str(place),
        prependdir=inside,
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )
    if not compiled:
        raise Refused(f"a Python file below {place} cannot be compiled: run ruff on it", Why.INTERNAL)


def _wheels(agents: Path, progress: Progress) -> Path:
    """The wheels of the list, unpacked and compiled; fetched once for each state of the list."""
    place = agents / f"wheels-{tree.content_digest(REQUIREMENTS)[:16]}"
    if place.exists():
        return place
    progress("fetching the agent's wheels")
    with new_folder(place) as folder:
        platforms = [word for platform in _PLATFORMS for word in ("--platform", platform)]
        run(
            sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps",
            "--no-compile", "--only-binary=:all:", "--require-hashes", "--implementation", "cp", "--python-version",
            "3.11", *platforms, "--target", folder, "--requirement", REQUIREMENTS,
        )  # fmt: skip
        tree.trim(folder, (*_LITTER, *_SOURCES))
        for entry in tree.everything(folder):
            entry.chmod(0o755 if entry.is_dir() else 0o644)
        _compile(folder, f"/{PLACE}")
        tree.settle_times(folder)
    return place
