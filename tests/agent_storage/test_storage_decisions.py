"""The secondary storage VM's decisions, without a socket: URLs, addresses, checksums, answers, formats."""

import bz2
import gzip
import io
import lzma
import struct
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from storage_stage import noise, qcow2, raw

from sysvm.agent.roles.secstorage import answer, formats, unpack
from sysvm.agent.roles.secstorage.addresses import gate
from sysvm.agent.roles.secstorage.checksum import parse_checksum
from sysvm.agent.roles.secstorage.fetch import SourceFailed
from sysvm.agent.roles.secstorage.incoming import Record
from sysvm.agent.roles.secstorage.pace import Pace, Patience
from sysvm.agent.roles.secstorage.source import follow, parse_source
from sysvm.basics.errors import Refused


# ---------------------------------------------------------------- URLs
@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://example.org", "http://example.org/"),
        ("https://example.org:8443/a%20b?x=1#part", "https://example.org:8443/a%20b?x=1"),
        ("http://EXAMPLE.org:80/A", "http://example.org/A"),
        ("http://[2001:db8::1]:81/a", "http://[2001:db8::1]:81/a"),
        ("nfs://example.org:2049/a%20b/c?vers=3", "nfs://example.org/a%20b/c?vers=3"),
        ("nfs://[2001:db8::1]:2050/a", "nfs://[2001:db8::1]:2050/a"),
    ],
)
def test_a_url_has_one_spelling(url: str, expected: str) -> None:
    assert parse_source(url).url == expected


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("gopher://example.org/a", "not by 'gopher'"),
        ("file://example.org/a", "import folder"),
        ("file:///", "import folder"),
        ("file:///../etc/passwd", "leads upwards"),
        ("example.org/a", "not by 'a URL without scheme'"),
        ("sftp://a%0ab@example.org/a", "control characters"),
        ("nfs://example.org/../a", "upward"),
        ("nfs://me:word@example.org/a", "credentials"),
        ("nfs://example.org/a?exec", "no option"),
        ("http://user:secret@example.org/", "user name or password"),
        ("http://user@example.org/", "user name or password"),
        ("http://good.example\\@evil.example/", "belong in no URL"),
        ("http://example.org/a b", "belong in no URL"),
        ("http://example.org/a\r\nHost: evil", "belong in no URL"),
        ("http://example.org/\x00", "belong in no URL"),
        ("http://exämple.org/", "belong in no URL"),
        ("http://", "names no host"),
        ("http://-a.example/", "names no host"),
        ("http://a%2eb/", "names no host"),
        ("http://[::1%25eth0]/", "names no host"),
        ("http://example.org:0/", "port 0"),
        ("http://example.org:99999/", "no URL"),
        ("http://[::1/", "no URL"),
        ("http://example.org/" + "a" * 2048, "longer than"),
    ],
)
def test_a_url_that_could_be_read_in_two_ways_is_refused(url: str, sentence: str) -> None:
    with pytest.raises(Refused, match=sentence):
        parse_source(url)


@given(st.text(max_size=60))
def test_whatever_is_given_as_a_url_is_read_or_refused(text: str) -> None:
    for url in (text, f"http://{text}", f"http://example.org/{text}"):
        try:
            assert parse_source(parse_source(url).url).url == parse_source(url).url
        except Refused:
            continue


def test_a_redirect_may_be_relative_but_not_to_something_less_secure() -> None:
    there = parse_source("https://example.org/a/b")
    assert follow(there, "../c").url == "https://example.org/c"
    with pytest.raises(Refused, match="from https to http"):
        follow(there, "http://example.org/c")


# ---------------------------------------------------------------- addresses
@pytest.mark.parametrize(
    ("address", "what"),
    [
        ("10.0.0.1", "private"),
        ("172.31.255.255", "private"),
        ("192.168.1.1", "private"),
        ("127.0.0.1", "loopback"),
        ("169.254.169.254", "link-local"),
        ("100.64.0.1", "shared by carriers"),
        ("0.0.0.0", "this host"),
        ("224.0.0.1", "multicast"),
        ("255.255.255.255", "reserved"),
        ("::1", "loopback"),
        ("::", "unspecified"),
        ("::ffff:10.0.0.1", "private"),
        ("::127.0.0.1", "IPv4-compatible"),
        ("64:ff9b::a00:1", "NAT64"),
        ("64:ff9b:1::1", "NAT64"),
        ("2002:a00:1::", "6to4"),
        ("2001:0:1::", "Teredo"),
        ("fd00::1", "private"),
        ("fe80::1", "link-local"),
        ("ff02::1", "multicast"),
        ("fe80::1%eth0", "link-local"),
        ("none", "is no address"),
    ],
)
def test_what_is_not_the_public_internet_is_named(address: str, what: str) -> None:
    assert what in gate((), (), ()).objection(address)


def test_exceptions_lift_the_ban_but_never_for_the_cloud_itself() -> None:
    rule = gate(("10.0.0.0/8", "0.0.0.0/0", "::/0", "nonsense"), ("10.9.0.0/16",), ("8.8.4.4",))
    assert [rule.objection(address) for address in ("10.1.1.1", "8.8.8.8", "2a00::1")] == ["", "", ""]
    assert "cloud itself" in rule.objection("10.9.1.1")
    assert "cloud itself" in rule.objection("8.8.4.4")
    assert "private" in rule.objection("192.168.0.1")


# ---------------------------------------------------------------- checksums
@pytest.mark.parametrize(
    ("text", "algorithm"),
    [
        ("a" * 32, "md5"),
        ("A" * 40, "sha1"),
        ("{SHA-256}" + "a" * 64, "sha256"),
        ("{sha512}" + "a" * 128, "sha512"),
        ("{MD5}" + "a" * 32, "md5"),
    ],
)
def test_checksums_that_are_understood(text: str, algorithm: str) -> None:
    got = parse_checksum(text)
    assert got is not None
    assert (got.algorithm, got.hex) == (algorithm, text.split("}")[-1].lower())


@pytest.mark.parametrize(
    "text", ["abc", "g" * 32, "{SHA-3}" + "a" * 64, "{MD5}" + "a" * 64, "{MD5}", "a" * 33, "{SHA-256 " + "a" * 64]
)
def test_checksums_that_are_not(text: str) -> None:
    with pytest.raises(Refused):
        parse_checksum(text)


# ---------------------------------------------------------------- answers of a source
HALF = Record(order="o", validator='"1"', total=100, done=50)


@pytest.mark.parametrize(
    ("status", "headers", "expected"),
    [
        (200, {"Content-Length": "80", "ETag": '"2"'}, answer.Begin(0, 80, '"2"')),
        (200, {"ETag": 'W/"2"', "Last-Modified": "Mon"}, answer.Begin(0, 0, "Mon")),
        (206, {"Content-Range": "bytes 50-99/100"}, answer.Begin(50, 100, '"1"')),
        (206, {"Content-Range": "bytes 50-99/*"}, answer.Begin(50, 100, '"1"')),
        (206, {"Content-Range": "bytes 0-99/100"}, answer.Restart),
        (206, {"Content-Range": "bytes 50-199/200"}, answer.Restart),
        (206, {}, answer.Restart),
        (416, {}, answer.Restart),
        (503, {}, SourceFailed),
        (429, {}, SourceFailed),
        (404, {}, Refused),
        (204, {}, Refused),
    ],
)
def test_what_an_answer_means(status: int, headers: dict[str, str], expected: object) -> None:
    if isinstance(expected, type):
        with pytest.raises(expected):
            answer.read_answer(status, headers, HALF)
    else:
        assert answer.read_answer(status, headers, HALF) == expected


def test_a_range_is_asked_for_only_where_a_change_would_be_noticed() -> None:
    blind = Record(order="o", done=50)
    assert answer.ask_for(HALF, promised=False) == {"Range": "bytes=50-", "If-Range": '"1"'}
    assert answer.ask_for(blind, promised=True) == {"Range": "bytes=50-"}
    assert answer.ask_for(blind, promised=False) == {}
    assert answer.ask_for(Record(order="o", validator='"1"'), promised=True) == {}


def test_a_drip_is_a_stall_and_a_slow_river_is_none() -> None:
    patience = Patience(window_s=30, floor=100)
    drip, river = Pace(patience, 0), Pace(patience, 0)
    assert [drip.took(1, second) for second in range(1, 32)].count(False) == 1
    assert all(river.took(10, second) for second in range(1, 10_000))


# ---------------------------------------------------------------- formats
def look(name: str, data: bytes) -> int:
    return formats.virtual_size(name, lambda offset, length: data[offset : offset + length], len(data))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"magic": 0x514649FA}, "no QCOW2"),
        ({"version": 1}, "version 1 is not known"),
        ({"version": 4}, "version 4 is not known"),
        ({"backing_offset": 112}, "backing file"),
        ({"backing_size": 5}, "backing file"),
        ({"incompatible": 4}, "another file"),
        ({"incompatible": 2}, "corrupt"),
        ({"incompatible": 1 << 40}, "features"),
        ({"encryption": 1}, "encrypted"),
        ({"cluster_bits": 8}, "not sane"),
        ({"cluster_bits": 63}, "not sane"),
        ({"virtual": 0}, "no disk here"),
        ({"virtual": 1 << 63}, "no disk here"),
        ({"l1_entries": 1}, "do not fit"),
        ({"l1_entries": 0xFFFFFFFF}, "outside the file"),
        ({"l1_offset": 1 << 40}, "outside the file"),
        ({"l1_offset": 12345}, "outside the file"),
        ({"l1_offset": 0}, "outside the file"),
        ({"refcount_offset": 1 << 62}, "outside the file"),
        ({"refcount_clusters": 0}, "do not fit"),
        ({"snapshots": 3}, "snapshots inside"),
        ({"length": 60}, "not sane"),
        ({"length": 0xFFFFFFF8}, "not sane"),
    ],
)
def test_a_hostile_qcow2_header_is_refused(changes: dict[str, int], sentence: str) -> None:
    with pytest.raises(Refused, match=sentence):
        look("QCOW2", qcow2(**{"virtual": 1 << 40 if "l1_entries" in changes else 1 << 30, **changes}))


@pytest.mark.parametrize("kind", [0xE2792ACA, 0x44415441])
def test_a_qcow2_extension_that_names_a_file_is_refused(kind: int) -> None:
    data = bytearray(qcow2())
    struct.pack_into(">II5s", data, 112, kind, 5, b"/etc/")
    with pytest.raises(Refused, match="names another file"):
        look("QCOW2", bytes(data))


@given(st.binary(max_size=200), st.integers(0, 250))
def test_any_scribble_over_a_qcow2_header_is_read_or_refused(scribble: bytes, at: int) -> None:
    data = bytearray(qcow2())
    data[at : at + len(scribble)] = scribble
    try:
        assert 0 < look("QCOW2", bytes(data)) <= 64 * 1024**4
    except Refused:
        return


@pytest.mark.parametrize(
    "options", [(), ("-o", "compat=0.10"), ("-o", "cluster_size=2M"), ("-o", "extended_l2=on,cluster_size=128k")]
)
def test_what_qemu_img_makes_is_taken(tmp_path: Path, options: tuple[str, ...]) -> None:
    place = tmp_path / "disk.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *options, place, "3G"], check=True)
    assert look("QCOW2", place.read_bytes()) == 3 << 30


@pytest.mark.parametrize("options", [("-b", "/etc/passwd", "-F", "raw", "-u"), ("-o", "data_file=/tmp/x.raw,data_file_raw=on")])
def test_what_qemu_img_makes_of_several_files_is_refused(tmp_path: Path, options: tuple[str, ...]) -> None:
    place = tmp_path / "disk.qcow2"
    changed = [option.replace("/tmp/x.raw", str(tmp_path / "x.raw")) for option in options]
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *changed, place, "1G"], check=True)
    with pytest.raises(Refused, match=r"backing file|another file"):
        look("QCOW2", place.read_bytes())


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("VMDK", ("-f", "vmdk")),
        ("VMDK", ("-f", "vmdk", "-o", "subformat=streamOptimized")),
        ("VHD", ("-f", "vpc", "-o", "force_size=on")),
    ],
)
def test_other_disks_that_qemu_img_makes_are_taken(tmp_path: Path, name: str, options: tuple[str, ...]) -> None:
    place = tmp_path / "disk"
    subprocess.run(["qemu-img", "create", "-q", *options, place, "64M"], check=True)
    assert look(name, place.read_bytes()) == 64 << 20


def test_a_vmdk_over_several_files_and_a_differencing_vhd_are_refused(tmp_path: Path) -> None:
    flat = tmp_path / "disk.vmdk"
    subprocess.run(["qemu-img", "create", "-q", "-f", "vmdk", "-o", "subformat=monolithicFlat", flat, "64M"], check=True)
    with pytest.raises(Refused, match="description of other files"):
        look("VMDK", flat.read_bytes())
    dynamic = tmp_path / "disk.vhd"
    subprocess.run(["qemu-img", "create", "-q", "-f", "vpc", dynamic, "64M"], check=True)
    data = bytearray(dynamic.read_bytes())
    footer = len(data) - 512
    struct.pack_into(">I", data, footer + 60, 4)
    struct.pack_into(">I", data, footer + 64, 0)
    struct.pack_into(">I", data, footer + 64, ~sum(data[footer:]) & 0xFFFFFFFF)
    with pytest.raises(Refused, match="difference to another disk"):
        look("VHD", bytes(data))


def tar(*names: str) -> bytes:
    place = io.BytesIO()
    with tarfile.open(fileobj=place, mode="w") as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    return place.getvalue()


ISO = bytes(32768) + b"\1CD001\1" + bytes(2041)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("TAR", tar("bin/sh")),
        ("TAR", gzip.compress(tar("bin/sh"))),
        ("TAR", lzma.compress(tar("a"))),
        ("OVA", tar("m.ovf", "d.vmdk")),
        ("ISO", ISO),
        ("RAW", raw(1024)),
    ],
)
def test_what_is_what_it_says_is_taken(name: str, data: bytes) -> None:
    assert look(name, data) == len(data)


@pytest.mark.parametrize(
    ("name", "data", "sentence"),
    [
        ("RAW", qcow2(backing_offset=1), "this is a QCOW2 image"),
        ("RAW", b"\n <!DOCTYPE html><html>", "this is a web page"),
        ("RAW", b"<html><body>404", "this is a web page"),
        ("RAW", gzip.compress(b"x"), "this is a gzip archive"),
        ("RAW", b"", "empty"),
        ("QCOW2", b"", "no QCOW2"),
        ("ISO", raw(40_000), "no ISO image"),
        ("ISO", b"", "no ISO image"),
        ("TAR", raw(2048), "no TAR archive"),
        ("TAR", gzip.compress(b"x" * 2048), "no TAR archive"),
        ("TAR", b"\x1f\x8bxxxx" * 50, "damaged"),
        ("OVA", tar("d.vmdk", "m.ovf"), "no OVA"),
        ("OVA", tar("../m.ovf"), "no OVA"),
        ("VMDK", b"# Disk DescriptorFile\nversion=1\n", "description of other files"),
        ("VMDK", b"KDMV" + bytes(100), "not sane"),
        ("VHD", raw(1024), "no VHD image"),
        ("VHD", b"", "no VHD image"),
    ],
)
def test_what_is_not_what_it_says_is_refused(name: str, data: bytes, sentence: str) -> None:
    with pytest.raises(Refused, match=sentence):
        look(name, data)


@given(st.sampled_from(sorted(formats.FORMATS)), st.binary(max_size=700))
def test_any_bytes_of_any_format_are_read_or_refused(name: str, data: bytes) -> None:
    try:
        assert look(name, data) >= 0
    except Refused:
        return


# ---------------------------------------------------------------- compressed sources
PLAIN = noise(3_000_000)


def zipped(*names: str) -> bytes:
    place = io.BytesIO()
    with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, PLAIN)
    return place.getvalue()


PACKED = {
    "gzip": gzip.compress(PLAIN, 1),
    "gzip of two members": gzip.compress(PLAIN[:1000]) + gzip.compress(PLAIN[1000:], 1) + bytes(512),
    "bzip2": bz2.compress(PLAIN, 1),
    "xz": lzma.compress(PLAIN, preset=0),
    "zip": zipped("../../etc/passwd"),
}


@pytest.mark.parametrize("how", PACKED)
async def test_compressed_sources_are_unpacked_and_hashed(tmp_path: Path, how: str) -> None:
    import hashlib

    source, target = tmp_path / "packed", tmp_path / "plain"
    source.write_bytes(PACKED[how])
    packing = unpack.packing(source, "RAW")
    assert packing == how.split(" ")[0]
    assert await unpack.unpacked(source, packing, target, len(PLAIN)) == hashlib.sha256(PLAIN).hexdigest()
    assert target.read_bytes() == PLAIN
    with pytest.raises(Refused, match="holds more than"):
        await unpack.unpacked(source, packing, target, len(PLAIN) - 1)
    source.write_bytes(PACKED[how][: len(PACKED[how]) // 2])
    with pytest.raises(Refused, match="damaged"):
        await unpack.unpacked(source, packing, target, len(PLAIN))


async def test_a_bomb_ends_at_the_limit_and_two_images_in_one_archive_are_refused(tmp_path: Path) -> None:
    source, target = tmp_path / "packed", tmp_path / "plain"
    source.write_bytes(gzip.compress(bytes(64 * 1024 * 1024)))
    with pytest.raises(Refused, match="holds more than the 1000000 bytes"):
        await unpack.unpacked(source, "gzip", target, 1_000_000)
    assert target.stat().st_size <= 1_000_000
    source.write_bytes(zipped("a", "b"))
    with pytest.raises(Refused, match="holds 2 files"):
        await unpack.unpacked(source, "zip", target, 1 << 30)
