"""A store is read through: what has other bytes than its name says is not given out any more, and can come anew."""

import hashlib
import os
from pathlib import Path

import pytest
from storage_stage import Stage, raw, whole

from sysvm.agent.roles.secstorage.store import DAMAGED_AGE_S, SWEEP_AGE_S
from sysvm.basics.errors import Refused
from sysvm.wire.channel import Scrub, Scrubbed

DATA, OTHER = raw(3_000_000), raw(2_000_000)[::-1]


async def scrub(ssvm: Stage, *, mend: bool = True) -> Scrubbed:
    """What is found."""

    async def progress(share: float) -> None:
        ssvm.said.append(share)

    got = await ssvm.role.run_task("scrub", Scrub(store="store-1", mend=mend), progress)
    assert isinstance(got, Scrubbed)
    return got


def damage(ssvm: Stage, data: bytes) -> Path:
    """One bit of an object is turned, with its size and time as they were."""
    place = ssvm.store / "objects" / hashlib.sha256(data).hexdigest()
    facts = place.stat()
    place.chmod(0o644)
    with place.open("r+b") as file:
        file.seek(len(data) // 2)
        byte = file.read(1)[0]
        file.seek(len(data) // 2)
        file.write(bytes((byte ^ 1,)))
    os.utime(place, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    return place


async def test_one_turned_bit_is_found_set_aside_and_brought_anew(ssvm: Stage) -> None:
    url = ssvm.source.serve("/a", whole(DATA))
    for image in ("image-1", "image-2"):
        await ssvm.fetch(url, image)
    await ssvm.fetch(ssvm.source.serve("/b", whole(OTHER)), "image-3")
    assert await scrub(ssvm) == Scrubbed(objects=2, bytes=len(DATA) + len(OTHER))
    damaged = damage(ssvm, DATA)
    got = await scrub(ssvm)
    assert got == Scrubbed(objects=2, bytes=len(DATA) + len(OTHER), damaged=("image-1", "image-2"))
    assert ssvm.said[-1] == 1.0
    assert not damaged.exists()
    assert (ssvm.store / "damaged" / damaged.name).exists()
    assert (await scrub(ssvm)).damaged == ("image-1", "image-2"), "until they are there again"
    for image in ("image-1", "image-2"):
        assert (await ssvm.fetch(url, image)).sha256 == damaged.name
    assert (await scrub(ssvm)).damaged == ()


async def test_a_read_only_store_is_told_of_and_left_as_it_is(ssvm: Stage) -> None:
    await ssvm.fetch(ssvm.source.serve("/a", whole(DATA)))
    place = damage(ssvm, DATA)
    assert (await scrub(ssvm, mend=False)).damaged == ("image-1",)
    assert place.exists()


async def test_leftovers_go_when_they_are_old(ssvm: Stage) -> None:
    """An object of no image after an hour, a damaged one after a week; younger ones may still be wanted."""
    await ssvm.fetch(ssvm.source.serve("/a", whole(DATA)))
    damage(ssvm, DATA)
    await scrub(ssvm)
    for name, age in (("a" * 64, SWEEP_AGE_S * 2), ("b" * 64, SWEEP_AGE_S / 2)):
        place = ssvm.store / "objects" / name
        place.write_bytes(b"x")
        os.utime(place, (place.stat().st_mtime - age,) * 2)
    assert (await scrub(ssvm)).swept == 1
    assert (ssvm.store / "objects" / ("b" * 64)).exists()
    (old,) = (ssvm.store / "damaged").iterdir()
    os.utime(old, (old.stat().st_mtime - DAMAGED_AGE_S - 1,) * 2)
    assert (await scrub(ssvm)).swept == 1
    assert not old.exists()


async def test_a_store_that_is_not_there_is_not_read_as_an_empty_one(ssvm: Stage) -> None:
    ssvm.mounted.clear()
    with pytest.raises(Refused, match="is not mounted"):
        await scrub(ssvm)
