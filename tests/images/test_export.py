"""A template as one file for each hypervisor, opened by the programs that know these formats; and taken in again."""

import hashlib
import io
import json
import subprocess
import tarfile
from pathlib import Path

import pytest

from sysvm.agent.roles.secstorage import formats
from sysvm.basics.errors import Refused
from sysvm.hosts import facts
from sysvm.hosts.layout import Layout
from sysvm.hosts.storage.volumes import Volumes
from sysvm.images import Template, export, install
from sysvm.images.export import ENDINGS, ORIGIN, PARTS
from sysvm.images.tree import tree_digest
from sysvm.wire.link import InstallTemplate, TemplateInstalled

pytestmark = [pytest.mark.root, pytest.mark.template]


def quiet(_: str) -> None:
    """Hears what a build says."""


def said(*words: object) -> str:
    return subprocess.run([str(word) for word in words], check=True, capture_output=True, text=True).stdout


def read_as(form: str, file: Path) -> int:
    """The disk's size, as a secondary storage VM reads it."""
    with file.open("rb") as stream:

        def at(offset: int, length: int) -> bytes:
            stream.seek(offset)
            return stream.read(length)

        return formats.virtual_size(form, at, file.stat().st_size)


@pytest.mark.parametrize("hypervisor", ENDINGS)
def test_a_template_is_written_for_each_hypervisor(template: Template, tmp_path: Path, hypervisor: str):
    """Once: a second time finds it. Its SHA-256 is beside it."""
    made = export(tmp_path, template, hypervisor, quiet)
    assert made == export(tmp_path, template, hypervisor, lambda text: pytest.fail(text))
    with made.file.open("rb") as stream:
        assert made.sha256 == hashlib.file_digest(stream, "sha256").hexdigest()
    said("sh", "-c", f"cd {made.file.parent} && sha256sum -c --quiet {made.file.name}.sha256")
    match made.file.suffix:
        case ".tar":
            assert list(PARTS) == said("tar", "-tf", made.file).split()
        case ".ova":
            ovf, sums, vmdk = said("tar", "-tf", made.file).split()
            said("tar", "-C", tmp_path, "-xf", made.file)
            said("qemu-img", "check", "-f", "vmdk", tmp_path / vmdk)
            assert (tmp_path / sums).read_text().count("SHA256(") == 2
            assert vmdk in (tmp_path / ovf).read_text()
        case ".vhd":  # qemu-img knows no check of these
            assert "vpc" == json.loads(said("qemu-img", "info", "--output=json", made.file))["format"]
            said("qemu-img", "compare", "-f", "vpc", "-F", "vpc", made.file, made.file)
        case suffix:
            said("qemu-img", "check", "-f", suffix[1:], made.file)
    form = made.file.suffix[1:].upper()
    assert form not in formats.FORMATS or read_as(form, made.file) > 0


@pytest.mark.parametrize("hypervisor", ["kvm", "lxc"])
async def test_a_host_takes_a_template_in(template: Template, tmp_path: Path, hypervisor: str, monkeypatch: pytest.MonkeyPatch):
    """It is the same, and known as one that was registered. A second time changes nothing."""
    made, pool = export(tmp_path, template, hypervisor, quiet), tmp_path / "pool"
    (pool / "images").mkdir(parents=True)
    made.file.rename(pool / "images" / f"{made.sha256}.{ENDINGS[hypervisor]}")
    monkeypatch.setenv("SYSVM_CACHE", str(tmp_path))
    layout = Layout.of(tmp_path / "state")
    order = InstallTemplate(pool=str(pool), sha256=made.sha256, format=ENDINGS[hypervisor])
    for _ in range(2):
        assert TemplateInstalled(version=template.version) == await Volumes(layout).perform(order, lambda _: None)
    assert ((), (template.version,)) == (facts.templates(layout), facts.registered(layout))
    there = Template.read(tmp_path / "templates" / template.version)
    assert template.manifest == there.manifest
    assert template.manifest.tree == tree_digest(there.root)
    assert (there.folder / ORIGIN).exists()
    assert not list((tmp_path / "templates").glob(".work*"))


def tar_of(**files: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name.replace("__", "."))
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return packed.getvalue()


def test_what_is_no_template_or_a_damaged_one_is_refused(template: Template, tmp_path: Path):
    """Nothing of it stays."""
    manifest = (template.folder / "manifest.json").read_bytes()
    whole = {name.replace(".", "__"): b"x" for name in PARTS}
    bad = {
        "holds no system VM template": [b"", b"x" * 4096, tar_of(a=b"1"), tar_of(**{**whole, "manifest__json": b"{}"})],
        "is not the one of its manifest": [tar_of(**{**whole, "manifest__json": manifest})],
        "no version": [tar_of(**{**whole, "manifest__json": manifest.replace(template.version.encode(), b"../../x")})],
    }
    (tmp_path / "templates").mkdir()
    for why, images in bad.items():
        for data in images:
            (tmp_path / "image.tar").write_bytes(data)
            with pytest.raises(Refused, match=why):
                install(tmp_path, tmp_path / "image.tar", "tar", quiet)
    assert [".lock"] == [place.name for place in (tmp_path / "templates").iterdir()]
    with pytest.raises(Refused, match="not one of kvm, lxc"):
        export(tmp_path, template, "bhyve", quiet)
