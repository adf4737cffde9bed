"""The next version of an image comes from another zone's secondary storage VM: what is here already does not travel, and damage,
death and older releases cost time only. Two real roles, one beside the other."""

import hashlib
import random
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from storage_stage import KEY, Stage, raw, stage, whole

from sysvm.agent.roles.secstorage import chunks, patching
from sysvm.agent.roles.secstorage.patching import Held, Piece, boundary, plan, ranges, windows
from sysvm.basics import edge
from sysvm.wire.channel import Downloaded
from sysvm.wire.grants import FetchTicket, sign_link

PUBLIC = "127.0.0.10"
MIB = 1024 * 1024
FIRST = raw(12 * MIB)


def changed() -> bytes:
    """The next version: bytes more at two places, others instead at a third; everything after has moved."""
    rest = random.Random(3).randbytes(100_000)
    middle = FIRST[2 * MIB : 5 * MIB] + rest[:50_000] + FIRST[5 * MIB : 9 * MIB]
    return FIRST[: 2 * MIB] + b"more\n\n" * 7 + middle + rest[50_000:] + FIRST[9 * MIB + 50_000 :]


SECOND = changed()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
async def other(tmp_path: Path) -> AsyncIterator[Stage]:
    """The other zone's."""
    (tmp_path / "other").mkdir()
    async with stage(tmp_path / "other") as made:
        assert () == await made.role.apply(made.document(public_address=PUBLIC, public_port=0, public_tls_port=0))
        yield made


async def two_zones(ssvm: Stage, other: Stage) -> None:
    """Both have the first version, the other one the second, too."""
    await ssvm.fetch(ssvm.source.serve("/1", whole(FIRST)))
    await other.fetch(other.source.serve("/2", whole(SECOND)), image="image-2")


def link() -> str:
    """What opens the second version."""
    return sign_link(KEY, FetchTicket(store="store-1", image="image-2", sha256=sha256(SECOND), expires=time.time() + 60))


async def brought(ssvm: Stage, other: Stage, shown: str = "") -> Downloaded:
    """The second version, by a link of the other zone's."""
    url = f"http://{PUBLIC}:{other.role.public_ports['plain']}/userdata/{shown or link()}/t.raw"
    return await ssvm.fetch(url, image="image-2", checksum=f"{{SHA-256}}{sha256(SECOND)}", peer=PUBLIC)


async def test_only_what_changed_travels(ssvm: Stage, other: Stage) -> None:
    await two_zones(ssvm, other)
    got = await brought(ssvm, other)
    assert (sha256(SECOND), len(SECOND)) == (got.sha256, got.size)
    assert SECOND == (ssvm.store / "objects" / got.sha256).read_bytes()
    assert got.size - got.saved < 0.2 * got.size


async def test_a_zone_that_has_nothing_of_it_takes_the_whole(ssvm: Stage, other: Stage) -> None:
    await other.fetch(other.source.serve("/2", whole(SECOND)), image="image-2")
    got = await brought(ssvm, other)
    assert (sha256(SECOND), 0) == (got.sha256, got.saved)


async def test_damage_here_is_noticed_and_the_rest_comes(ssvm: Stage, other: Stage) -> None:
    await two_zones(ssvm, other)
    place = ssvm.store / "objects" / sha256(FIRST)
    chunks.list_of(ssvm.role._stores["store-1"], sha256(FIRST))
    place.chmod(0o644)
    with place.open("r+b") as file:
        file.seek(6 * MIB)
        file.write(b"damaged")
    got = await brought(ssvm, other)
    assert SECOND == (ssvm.store / "objects" / got.sha256).read_bytes()


class Killed(BaseException):
    """The agent dies here."""


async def test_an_agent_that_dies_goes_on_where_the_disk_is(ssvm: Stage, other: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    await two_zones(ssvm, other)
    monkeypatch.setattr(patching, "_WINDOW", MIB)
    shown = link()
    passed: list[str] = []

    async def strike(name: str) -> None:
        passed.append(name)
        if passed.count("patch_window") == 4:
            raise Killed

    edge.install(strike)
    try:
        with pytest.raises(Killed):
            await brought(ssvm, other, shown)
    finally:
        edge.install(None)
    before = (ssvm.store / "incoming/image-2/data").stat().st_size
    assert 3 * MIB < before
    got = await brought(ssvm, other, shown)
    assert SECOND == (ssvm.store / "objects" / got.sha256).read_bytes()


async def test_another_zone_of_an_older_release_gives_the_whole(
    ssvm: Stage, other: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await two_zones(ssvm, other)
    monkeypatch.setattr(patching.Patching, "_at_chunks", lambda self: replace(self.source, target="/nothing"))
    got = await brought(ssvm, other)
    assert (sha256(SECOND), 0) == (got.sha256, got.saved)


@pytest.mark.parametrize("wanted", ["", "5", "5-4", "0-99999999999", "8-9,3-4", "-1-3", "0-1,1-2"])
async def test_ranges_are_read_strictly(other: Stage, wanted: str) -> None:
    await other.fetch(other.source.serve("/2", whole(SECOND)), image="image-2")
    url = f"http://{PUBLIC}:{other.role.public_ports['plain']}/chunks"
    async with aiohttp.ClientSession() as web:
        async with web.get(f"{url}/{link()}", headers={patching.RANGES: wanted}) as answer:
            assert 400 == answer.status
        async with web.get(f"{url}/x") as answer:
            assert 403 == answer.status
        async with web.get(f"{url}/{link()}", headers={patching.RANGES: "3-5,9-9"}) as answer:
            assert SECOND[3:6] + SECOND[9:10] == await answer.read()


# ---------------------------------------------------------------- decisions
def test_chunks_are_found_again_after_bytes_were_put_before_them(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(FIRST)
    (tmp_path / "b").write_bytes(b"x" * 1001 + FIRST)
    first, second = ([chunks.name_of(chunk) for chunk in chunks.cut((tmp_path / name).open("rb"))] for name in "ab")
    assert len(set(first) - set(second)) <= 2
    assert b"".join(chunks.cut((tmp_path / "b").open("rb"))) == b"x" * 1001 + FIRST
    assert all(len(chunk) <= chunks.MOST for chunk in chunks.cut((tmp_path / "a").open("rb")))


def test_what_has_to_come_is_asked_for_in_runs() -> None:
    here = Held(Path("o"), 0)
    entries = [(b"a", 10), (b"b", 10), (b"c", 10), (b"d", 10), (b"e", 10)]
    todo = plan(entries, {b"c": here}, 10)
    assert [(10, None), (20, here), (30, None), (40, None)] == [(piece.at, piece.held) for piece in todo]
    assert "10-19,30-49" == ranges(todo)
    assert (10, 10, 0) == (boundary(entries, 10), boundary(entries, 19), boundary(entries, 9))


def test_windows_hold_so_many_runs_and_lose_nothing() -> None:
    todo = [Piece(at * 10, 10, b"", Held(Path("o"), 0) if at % 2 else None) for at in range(1001)]
    found = list(windows(todo))
    assert todo == [piece for window in found for piece in window]
    assert max(ranges(window).count("-") for window in found) == 200
