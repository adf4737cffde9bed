"""Every protocol with a real server: ftp, sftp, the import folder, metalinks with several mirrors; and everything packed."""

import asyncio
import bz2
import gzip
import hashlib
import io
import lzma
import os
import zipfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aioftp
import asyncssh
import pytest
from backports import zstd
from storage_stage import Exchange, Stage, raw, whole

from sysvm.agent.roles.secstorage.health import mount_points
from sysvm.agent.roles.secstorage.incoming import PIECE
from sysvm.agent.roles.secstorage.metalink import parse_metalink
from sysvm.agent.roles.secstorage.reaching import open_plain
from sysvm.basics.errors import Refused

DATA = raw(3_000_001)
LARGE = raw(5 * PIECE + 12_345)
SHA256 = hashlib.sha256(DATA).hexdigest()
PROMISE = f"{{SHA-256}}{SHA256}"


# ---------------------------------------------------------------- ftp
@pytest.fixture
async def ftp(tmp_path: Path) -> AsyncIterator[tuple[Path, int]]:
    """A folder and the port that serves it, to everybody and to one user."""
    folder = tmp_path / "ftp"
    folder.mkdir()
    users = [aioftp.User(base_path=folder), aioftp.User("me", "a word", base_path=folder)]
    server = aioftp.Server(users)
    await server.start("127.0.0.1", 0)
    yield folder, server.server.sockets[0].getsockname()[1]
    await server.close()


@pytest.mark.parametrize("login", ["", "me:a%20word@"])
async def test_ftp(ssvm: Stage, ftp: tuple[Path, int], login: str) -> None:
    folder, port = ftp
    (folder / "an image.raw").write_bytes(DATA)
    got = await ssvm.fetch(f"ftp://{login}127.0.0.1:{port}/an%20image.raw", checksum=PROMISE)
    assert (got.sha256, got.size) == (SHA256, len(DATA))


@pytest.mark.parametrize(
    ("login", "path", "sentence"),
    [
        ("", "none.raw", "are path, user name and password right"),
        ("me:wrong@", "a.raw", "are path, user name and password right"),
        ("", "a%0d%0aDELE%20a.raw", "control characters"),
        ("", "b/../../a.raw", "leads upwards"),
    ],
)
async def test_ftp_says_what_is_wrong(ssvm: Stage, ftp: tuple[Path, int], login: str, path: str, sentence: str) -> None:
    folder, port = ftp
    (folder / "a.raw").write_bytes(DATA)
    with pytest.raises(Refused, match=sentence):
        await ssvm.fetch(f"ftp://{login}127.0.0.1:{port}/{path}")
    assert (folder / "a.raw").exists()


async def test_ftp_goes_on_where_it_broke(ssvm: Stage, ftp: tuple[Path, int]) -> None:
    """A line in between that is cut in the middle of the data: the next try asks for the rest, by REST."""
    folder, port = ftp
    (folder / "a.raw").write_bytes(LARGE)
    asked: list[bytes] = []
    cut_after = [2 * PIECE]

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, at: int, *, is_data: bool) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", at)

        async def up() -> None:
            while line := await reader.readline():
                asked.append(line)
                back.write(line)
            back.close()

        async def down() -> None:
            passed = 0
            while part := await there.read(65536):
                if not is_data and part.startswith(b"229"):
                    part = f"229 Entering ({'|' * 3}{await listen(int(part.split(b'|')[3]), is_data=True)}|)\r\n".encode()
                passed += len(part)
                if is_data and cut_after and passed > cut_after[0]:
                    cut_after.clear()
                    break
                writer.write(part)
                await writer.drain()
            writer.close()

        await asyncio.gather(up(), down())

    async def listen(at: int, *, is_data: bool) -> int:
        server = await asyncio.start_server(lambda r, w: pass_on(r, w, at, is_data=is_data), "127.0.0.1", 0)
        return int(server.sockets[0].getsockname()[1])

    got = await ssvm.fetch(f"ftp://127.0.0.1:{await listen(port, is_data=False)}/a.raw")
    assert got.sha256 == hashlib.sha256(LARGE).hexdigest()
    (rest,) = [line for line in asked if line.startswith(b"REST")]
    assert 0 < int(rest.split()[1]) <= 2 * PIECE


# ---------------------------------------------------------------- sftp
class Asked(asyncssh.SSHServer):
    """Lets one user in."""

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return (username, password) == ("me", "a word")


@pytest.fixture
async def sftp(tmp_path: Path) -> AsyncIterator[tuple[Path, int]]:
    """A folder and the port that serves it."""
    folder = tmp_path / "sftp"
    folder.mkdir()
    key = asyncssh.generate_private_key("ssh-ed25519")
    server = await asyncssh.create_server(
        Asked, "127.0.0.1", 0, server_host_keys=[key],
        sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=str(folder).encode()),
    )  # fmt: skip
    yield folder, server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()


async def test_sftp(ssvm: Stage, sftp: tuple[Path, int]) -> None:
    folder, port = sftp
    (folder / "a.raw").write_bytes(DATA)
    got = await ssvm.fetch(f"sftp://me:a%20word@127.0.0.1:{port}/a.raw", checksum=PROMISE)
    assert (got.sha256, got.size) == (SHA256, len(DATA))


@pytest.mark.parametrize(
    ("login", "path", "checksum", "sentence"),
    [
        ("me:a%20word@", "a.raw", "", "sftp needs a checksum"),
        ("me:wrong@", "a.raw", PROMISE, "does not let me in"),
        ("me:a%20word@", "none.raw", PROMISE, "does not give /none.raw"),
    ],
)
async def test_sftp_says_what_is_wrong(
    ssvm: Stage, sftp: tuple[Path, int], login: str, path: str, checksum: str, sentence: str
) -> None:
    folder, port = sftp
    (folder / "a.raw").write_bytes(DATA)
    with pytest.raises(Refused, match=sentence):
        await ssvm.fetch(f"sftp://{login}127.0.0.1:{port}/{path}", checksum=checksum)


# ---------------------------------------------------------------- nfs
async def test_a_machine_that_cannot_mount_says_so_and_leaves_nothing_mounted(ssvm: Stage) -> None:
    """As in a container, where a test of this folder runs; a machine that can is in tests/boot."""
    with pytest.raises(Refused, match=r"cannot mount NFS|does not give"):
        await ssvm.fetch("nfs://127.0.0.1:1/export/a.raw")
    assert [] == [place for place in mount_points() if "sysvm-nfs-" in place]


LINKS = {"link": "cannot be opened", "missing": "cannot be opened", "folder": "is no file", "pipe": "is no file"}


@pytest.mark.parametrize("name", LINKS)
def test_nothing_but_a_plain_file_is_read_from_a_share(tmp_path: Path, name: str) -> None:
    """A share is somebody else's: a link in it could name a file of this machine, and a pipe would be waited for."""
    (tmp_path / "link").symlink_to("/etc/passwd")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Refused, match=LINKS[name]):
        open_plain(tmp_path / name)


@pytest.mark.parametrize("scheme", ["ftp", "sftp", "nfs"])
async def test_what_http_may_not_reach_no_other_protocol_may(ssvm: Stage, scheme: str) -> None:
    await ssvm.role.apply(ssvm.document(allowed_internal=()))
    with pytest.raises(Refused, match="loopback"):
        await ssvm.fetch(f"{scheme}://127.0.0.1:1/a.raw", checksum=PROMISE)


# ---------------------------------------------------------------- the import folder
async def test_a_file_of_the_import_folder(ssvm: Stage) -> None:
    folder = ssvm.store / "import/debian"
    folder.mkdir(parents=True)
    (folder / "a b.raw").write_bytes(DATA)
    got = await ssvm.fetch("file:///debian/a%20b.raw", checksum=PROMISE)
    assert (got.sha256, got.size) == (SHA256, len(DATA))
    assert (folder / "a b.raw").exists(), "it stays where the operator has put it"


async def test_nothing_else_is_imported(ssvm: Stage, tmp_path: Path) -> None:
    """No other folder, by whatever way."""
    (tmp_path / "secret.raw").write_bytes(DATA)
    (ssvm.store / "import").mkdir()
    (ssvm.store / "import/link.raw").symlink_to(tmp_path / "secret.raw")
    for path in ("link.raw", "../secret.raw", "%2e%2e/secret.raw", "..%2fsecret.raw", "none.raw", "", "."):
        with pytest.raises(Refused):
            await ssvm.fetch(f"file:///{path}")
    with pytest.raises(Refused, match="import folder"):
        await ssvm.fetch(f"file://otherhost{tmp_path}/secret.raw")


# ---------------------------------------------------------------- metalinks
def metalink(*urls: str, data: bytes = LARGE, checksum: bool = True) -> bytes:
    """Of RFC 5854; the first URL is the best one."""
    promise = f'<hash type="sha-256">{hashlib.sha256(data).hexdigest()}</hash>' if checksum else ""
    links = "".join(f'<url priority="{at}">{url}</url>' for at, url in enumerate(urls, 1))
    return (
        f'<?xml version="1.0"?><metalink xmlns="urn:ietf:params:xml:ns:metalink"><file name="a">{promise}'
        f"<size>{len(data)}</size>{links}</file></metalink>"
    ).encode()


def ranged(data: bytes, served: list[int], *, fails: Callable[[int], bool] = lambda first: False):  # type: ignore[no-untyped-def]
    """A mirror: ranges with both ends; `served` counts the bytes of each answer."""

    async def answer(ask: Exchange) -> None:
        first, _, last = ask.headers["range"].removeprefix("bytes=").partition("-")
        begin, end = int(first), min(int(last or len(data) - 1), len(data) - 1)
        if fails(begin):
            await ask.say("503 Service Unavailable", "Content-Length: 0")
            return
        served.append(end - begin + 1)
        await ask.say(
            "206 Partial Content", f"Content-Length: {end - begin + 1}", f"Content-Range: bytes {begin}-{end}/{len(data)}",
            body=data[begin : end + 1],
        )  # fmt: skip

    return answer


async def test_several_mirrors_share_a_large_file(ssvm: Stage) -> None:
    """Each brings pieces; together they are asked for every byte once. The checksum is the metalink's."""
    served: list[list[int]] = [[], [], []]
    urls = [ssvm.source.serve(f"/m{at}", ranged(LARGE, served[at])) for at in range(3)]
    url = ssvm.source.serve("/a.meta4", whole(metalink(*urls)))
    got = await ssvm.fetch(url)
    assert got.sha256 == hashlib.sha256(LARGE).hexdigest()
    assert sum(map(sum, served)) == len(LARGE) + 1, "one byte was the question for the size"
    assert all(sum(bytes_) >= PIECE // 2 for bytes_ in served)
    assert ssvm.said == sorted(ssvm.said)


async def test_a_mirror_that_fails_another_that_lies_and_one_without_ranges_are_done_without(ssvm: Stage) -> None:
    served: list[int] = []
    urls = [
        ssvm.source.serve("/good", ranged(LARGE, served)),
        ssvm.source.serve("/bad", ranged(LARGE, [], fails=lambda first: True)),
        ssvm.source.serve("/other", ranged(LARGE + b"more", [])),
        ssvm.source.serve("/plain", whole(LARGE)),
    ]
    got = await ssvm.fetch(ssvm.source.serve("/a.metalink", whole(metalink(*urls))))
    assert got.sha256 == hashlib.sha256(LARGE).hexdigest()


async def test_mirrors_that_all_fail_end_the_download_and_leave_nothing(ssvm: Stage) -> None:
    urls = [ssvm.source.serve(f"/m{at}", ranged(LARGE, [], fails=lambda first: first > PIECE)) for at in range(2)]
    with pytest.raises(Refused, match="at every mirror"):
        await ssvm.fetch(ssvm.source.serve("/a.meta4", whole(metalink(*urls))))
    assert ssvm.left() == set()


async def test_a_small_file_and_one_without_a_checksum_come_from_the_best_mirror_that_has_it(ssvm: Stage) -> None:
    gone, good = f"http://127.0.0.1:{ssvm.source.port}/gone", ssvm.source.serve("/good", whole(DATA))

    async def none(ask: Exchange) -> None:
        await ask.say("404 Not Found", "Content-Length: 0")

    ssvm.source.serve("/gone", none)
    for number, checksum in enumerate((True, False)):
        link = metalink(gone, good, data=DATA, checksum=checksum)
        got = await ssvm.fetch(ssvm.source.serve(f"/{number}.meta4", whole(link)), image=f"image-{number}")
        assert got.sha256 == SHA256


async def test_the_metalinks_checksum_is_a_promise(ssvm: Stage) -> None:
    urls = [ssvm.source.serve(f"/m{at}", ranged(LARGE, [])) for at in range(2)]
    wrong = metalink(*urls).replace(hashlib.sha256(LARGE).hexdigest().encode(), b"0" * 64)
    with pytest.raises(Refused, match="checksum is wrong"):
        await ssvm.fetch(ssvm.source.serve("/a.meta4", whole(wrong)))
    assert ssvm.left() == set()


async def test_pieces_that_are_here_are_not_asked_for_again(ssvm: Stage) -> None:
    """The first life has them from a mirror that then says nothing more; the task is begun again."""
    first: list[int] = []
    stuck, enough = asyncio.Event(), asyncio.Event()

    def slow(served: list[int]):  # type: ignore[no-untyped-def]
        good = ranged(LARGE, served)

        async def answer(ask: Exchange) -> None:
            if sum(served) > 3 * PIECE:
                enough.set()
                await stuck.wait()
            await good(ask)

        return answer

    urls = [ssvm.source.serve(f"/m{at}", slow(first)) for at in range(2)]
    url = ssvm.source.serve("/a.meta4", whole(metalink(*urls)))
    life = asyncio.ensure_future(ssvm.fetch(url))
    await enough.wait()
    life.cancel()
    await asyncio.wait([life])
    stuck.set()
    second: list[int] = []
    for at in range(2):
        ssvm.source.serve(f"/m{at}", ranged(LARGE, second))
    got = await ssvm.fetch(url)
    assert got.sha256 == hashlib.sha256(LARGE).hexdigest()
    assert sum(second) <= len(LARGE) - 2 * PIECE + 1


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"<html>", "cannot be read"),
        (b'<!DOCTYPE a [<!ENTITY b "c">]><metalink><file/></metalink>', "defines entities"),
        (b"<metalink/>", "names no file"),
        (b"<metalink><file><url>magnet:?xt=1</url><url>file:///etc/passwd</url></file></metalink>", "no mirror"),
        (b" " * (1 << 20) + b"<metalink/>", "too long"),
    ],
)
def test_a_metalink_that_is_none(text: bytes, sentence: str) -> None:
    with pytest.raises(Refused, match=sentence):
        parse_metalink(text)


def test_version_three_is_read_too() -> None:
    text = (
        b'<metalink version="3.0" xmlns="http://www.metalinker.org/"><files><file name="a"><verification>'
        b'<hash type="sha1">' + b"b" * 40 + b'</hash><pieces length="1" type="sha1"><hash piece="0">x</hash></pieces>'
        b'</verification><resources><url type="http" preference="10">http://slow/a</url>'
        b'<url type="http" preference="90">http://fast/a</url></resources></file></files></metalink>'
    )
    found = parse_metalink(text)
    assert [source.host for source in found.mirrors] == ["fast", "slow"]
    assert found.checksum is not None and (found.checksum.algorithm, found.checksum.hex) == ("sha1", "b" * 40)


# ---------------------------------------------------------------- packed
def zipped(data: bytes) -> bytes:
    """An archive with one file, whose name leads elsewhere."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../etc/image.raw", data)
    return made.getvalue()


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": zstd.compress, "zip": zipped,
}  # fmt: skip


@pytest.mark.parametrize("ending", PACKERS)
async def test_what_is_packed_is_unpacked(ssvm: Stage, ending: str) -> None:
    """The checksum is of what was downloaded, the digest of what is kept."""
    packed = PACKERS[ending](DATA)
    url = ssvm.source.serve(f"/a.raw.{ending}", whole(packed))
    got = await ssvm.fetch(url, checksum=f"{{MD5}}{hashlib.md5(packed).hexdigest()}")
    assert (got.sha256, got.size) == (SHA256, len(DATA))
    assert {place for place in ssvm.left() if place.startswith("objects")} == {f"objects/{SHA256}"}


@pytest.mark.parametrize("ending", PACKERS)
async def test_a_bomb_ends_at_the_limit_and_a_torn_archive_is_refused(ssvm: Stage, ending: str) -> None:
    packed = PACKERS[ending](b"\0" * (8 << 20))
    url = ssvm.source.serve("/bomb", whole(packed))
    with pytest.raises(Refused, match="holds more than"):
        await ssvm.fetch(url, max_bytes=4 << 20)
    torn = ssvm.source.serve("/torn", whole(PACKERS[ending](DATA)[:-2000]))
    with pytest.raises(Refused, match="damaged"):
        await ssvm.fetch(torn, image="image-2")
    assert ssvm.left() == set()
