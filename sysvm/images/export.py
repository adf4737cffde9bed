"""A built template as one file that `registerTemplate` can take: what each kind of hypervisor has its templates in.

    kvm qcow2, xenserver vhd, hyperv vhdx   a disk: one ext4 file system with the template's files (manifest.PARTS)
    vmware                                  ova: that disk as vmdk, its ovf and their checksums
    lxc                                     tar of the same files

`exports/<name>` in the cache, with its SHA-256 beside it in `<name>.sha256`, as sha256sum writes it: a file without that is
not whole and is made again. The disks have no boot loader: a host takes the files out (`install`) and starts the kernel itself.
"""

import re
import shutil
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from sysvm.basics.errors import Refused
from sysvm.images.commands import Progress, exclusive, need_root, new_folder, run
from sysvm.images.manifest import FILES, Template, sha256
from sysvm.images.places import EPOCH

PARTS = ("manifest.json", *FILES)
ENDINGS = {"kvm": "qcow2", "lxc": "tar", "vmware": "ova", "xenserver": "vhd", "hyperv": "vhdx"}
NAME = re.compile(r"systemvm-[0-9A-Za-z-]+\.(qcow2|tar|ova|vhd|vhdx)(\.sha256)?")
ORIGIN = "registered"  # in a template's folder: it came as an image of this SHA-256 and was not built with the release
_CONVERSIONS = {
    "qcow2": ("-O", "qcow2"),
    "vhd": ("-O", "vpc", "-o", "subformat=dynamic,force_size=on"),
    "vhdx": ("-O", "vhdx"),
    "vmdk": ("-O", "vmdk", "-o", "subformat=streamOptimized"),
}
_MB = 1 << 20
_MOST = 1 << 30  # bytes of one part


@dataclass(frozen=True, slots=True)
class Export:
    """A file and what it is known by."""

    file: Path
    sha256: str


def folder_of(cache: Path) -> Path:
    """Where exports are."""
    return cache / "exports"


def export(cache: Path, template: Template, hypervisor: str, progress: Progress) -> Export:
    """The template for that hypervisor; made unless it is there."""
    if hypervisor not in ENDINGS:
        raise Refused(f"{hypervisor!r} is not one of {', '.join(ENDINGS)}")
    file = folder_of(cache) / f"systemvm-{template.version}-{hypervisor}.{ENDINGS[hypervisor]}"
    known = file.with_name(f"{file.name}.sha256")
    with exclusive(folder_of(cache), progress):
        if not known.exists():
            progress(f"writing {file.name}")
            with tempfile.TemporaryDirectory(dir=folder_of(cache), prefix=".work-") as work:
                _made(Path(work), template, ENDINGS[hypervisor]).rename(file)
            known.write_text(f"{sha256(file)}  {file.name}\n")
    return Export(file, known.read_text().split()[0])


def _made(work: Path, template: Template, ending: str) -> Path:
    if ending == "tar":
        return _packed(work / "made", [template.folder / name for name in PARTS])
    disk = work / "disk"
    _file_system(work / "parts", disk, template)
    if ending != "ova":
        return _converted(disk, work / "made", ending)
    name = f"systemvm-{template.version}"
    vmdk = _converted(disk, work / f"{name}-disk1.vmdk", "vmdk")
    ovf = work / f"{name}.ovf"
    ovf.write_text(OVF.format(name=name, disk=vmdk.name, size=vmdk.stat().st_size, capacity=disk.stat().st_size))
    sums = work / f"{name}.mf"
    sums.write_text("".join(f"SHA256({file.name})= {sha256(file)}\n" for file in (ovf, vmdk)))
    return _packed(work / "made", [ovf, sums, vmdk])


def _file_system(parts: Path, disk: Path, template: Template) -> None:
    parts.mkdir()
    for name in PARTS:
        shutil.copyfile(template.folder / name, parts / name)
    size = sum((parts / name).stat().st_size for name in PARTS)
    with disk.open("wb") as file:
        file.truncate((size * 11 // 10 // _MB + 8) * _MB)
    run("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-L", "SYSVM", "-d", parts, disk)


def _converted(disk: Path, made: Path, form: str) -> Path:
    run("qemu-img", "convert", "-f", "raw", *_CONVERSIONS[form], disk, made)
    return made


def _packed(made: Path, files: list[Path]) -> Path:
    with tarfile.open(made, "w", format=tarfile.USTAR_FORMAT) as archive:
        for file in files:
            entry = tarfile.TarInfo(file.name)
            entry.size, entry.mtime, entry.mode = file.stat().st_size, EPOCH, 0o644
            with file.open("rb") as stream:
                archive.addfile(entry, stream)
    return made


# ---------------------------------------------------------------- taking in
def install(cache: Path, image: Path, form: str, progress: Progress) -> str:
    """The template in an image (qcow2 or tar) is one of the cache's; its version. Nothing but its parts leaves the image."""
    need_root("taking a template in")
    with exclusive(cache / "templates", progress):
        with tempfile.TemporaryDirectory(dir=cache / "templates", prefix=".work-") as name:
            work = Path(name)
            (_from_tar if form == "tar" else _from_disk)(image, work)
            template = _judged(work)
            place = cache / "templates" / template.version
            if not place.exists():
                _put(work, place, image.stem)
        return template.version


def _from_tar(image: Path, work: Path) -> None:
    try:
        with tarfile.open(image) as archive:
            for name in PARTS:
                entry = archive.getmember(name)
                stream = archive.extractfile(entry)
                if not entry.isreg() or stream is None or entry.size > _MOST:
                    raise Refused(f"{name} in the image is no file of a template")
                with (work / name).open("wb") as target:
                    shutil.copyfileobj(stream, target)
    except (tarfile.TarError, KeyError) as error:
        raise Refused(f"the image holds no system VM template: {error}") from error


def _from_disk(image: Path, work: Path) -> None:
    disk = work / "disk"
    run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", image, disk)
    for name in PARTS:
        run("debugfs", "-R", f"dump /{name} {work / name}", disk)
        if not (work / name).is_file() or not (work / name).stat().st_size:
            raise Refused(f"the image holds no system VM template: it has no file {name}")
    disk.unlink()


def _judged(work: Path) -> Template:
    try:
        template = Template.read(work)
    except ValueError as error:
        raise Refused(f"the image holds no system VM template: {error}") from error
    if not re.fullmatch(r"[0-9A-Za-z][0-9A-Za-z-]{0,63}", template.version):
        raise Refused(f"{template.version!r} is no version of a template")
    for name in FILES:
        if sha256(work / name) != template.manifest.files.get(name):
            raise Refused(f"{name} in the image is not the one of its manifest: the image is damaged")
    return template


def _put(work: Path, place: Path, origin: str) -> None:
    with new_folder(place) as fresh:
        for name in PARTS:
            shutil.move(work / name, fresh / name)
        run("unsquashfs", "-no-progress", "-d", fresh / "root", fresh / "base.squashfs")
        (fresh / ORIGIN).write_text(origin)


OVF = """\
<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
 xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
 xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData">
 <References><File ovf:href="{disk}" ovf:id="file1" ovf:size="{size}"/></References>
 <DiskSection>
  <Info>Disks</Info>
  <Disk ovf:capacity="{capacity}" ovf:diskId="disk1" ovf:fileRef="file1"
   ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"/>
 </DiskSection>
 <VirtualSystem ovf:id="{name}">
  <Info>A system VM</Info>
  <Name>{name}</Name>
  <OperatingSystemSection ovf:id="96"><Info>Debian 12, 64 bit</Info></OperatingSystemSection>
  <VirtualHardwareSection>
   <Info>Hardware</Info>
   <System><vssd:ElementName>Virtual Hardware Family</vssd:ElementName><vssd:InstanceID>0</vssd:InstanceID>
    <vssd:VirtualSystemType>vmx-13</vssd:VirtualSystemType></System>
   <Item><rasd:ElementName>1 CPU</rasd:ElementName><rasd:InstanceID>1</rasd:InstanceID>
    <rasd:ResourceType>3</rasd:ResourceType><rasd:VirtualQuantity>1</rasd:VirtualQuantity></Item>
   <Item><rasd:AllocationUnits>byte * 2^20</rasd:AllocationUnits><rasd:ElementName>512 MB</rasd:ElementName>
    <rasd:InstanceID>2</rasd:InstanceID><rasd:ResourceType>4</rasd:ResourceType>
    <rasd:VirtualQuantity>512</rasd:VirtualQuantity></Item>
   <Item><rasd:ElementName>SCSI</rasd:ElementName><rasd:InstanceID>3</rasd:InstanceID>
    <rasd:ResourceSubType>VirtualSCSI</rasd:ResourceSubType><rasd:ResourceType>6</rasd:ResourceType></Item>
   <Item><rasd:AddressOnParent>0</rasd:AddressOnParent><rasd:ElementName>disk1</rasd:ElementName>
    <rasd:HostResource>ovf:/disk/disk1</rasd:HostResource><rasd:InstanceID>4</rasd:InstanceID><rasd:Parent>3</rasd:Parent>
    <rasd:ResourceType>17</rasd:ResourceType></Item>
  </VirtualHardwareSection>
 </VirtualSystem>
</Envelope>
"""
