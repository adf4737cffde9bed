"""An image store on a disk that fails: at any byte that is written, at any sync, at any change, and when it is read.

The disk is a real mount, which fails as it is told (`faulty_disk.py`). What must hold: the reason is told, nothing half or wrong
is visible, and the same order ends well when the disk does, without asking for what was on the disk for certain.
"""

import contextlib
import hashlib
import json
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from storage_stage import KEY, Stage, noise, raw, stage, whole

from sysvm.agent.roles.secstorage.incoming import SYNC_EVERY
from sysvm.agent.roles.secstorage.store import ImageStore
from sysvm.basics.clock import SystemClock
from sysvm.basics.errors import Refused
from sysvm.systemvms import secstorage
from sysvm.wire.channel import DeleteImage, Scrub, Scrubbed
from sysvm.wire.grants import FetchTicket, sign_ticket

pytestmark = pytest.mark.root
PROGRAM = Path(__file__).with_name("faulty_disk.py")
LARGE, SMALL = raw(3 * SYNC_EVERY + 12345), raw(5000)


@dataclass
class Disk:
    """What is mounted at `place`; `told` says what fails from now on."""

    place: Path
    process: subprocess.Popen[str]

    def told(self, line: str) -> int:
        """How often the fault has been met."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())


@contextlib.contextmanager
def mounted(folder: Path) -> Iterator[Disk]:
    """The disk; unmounted at the end."""
    (folder / "backing").mkdir()
    words = ("/usr/bin/python3", str(PROGRAM), str(folder / "backing"), str(folder / "disk"))
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    disk = Disk(folder / "disk", process)
    try:
        disk.told("well")
        while not disk.place.is_mount():
            assert process.poll() is None, "it cannot be mounted"
            os.sched_yield()
        yield disk
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A disk that is well."""
    with mounted(tmp_path) as made:
        yield made


@pytest.fixture
async def ssvm(disk: Disk, tmp_path: Path) -> AsyncIterator[Stage]:
    """A secondary storage VM whose store is on it."""
    async with stage(tmp_path) as everything:
        everything.store = disk.place
        everything.mounted.add(str(disk.place))
        assert await everything.role.apply(everything.document()) == ()
        yield everything


def visible(ssvm: Stage) -> list[str]:
    """Images that anybody would be given."""
    store = ImageStore(ssvm.store)
    return [image.image for image in store.everything() if store.image(image.image) is not None]


async def nothing(_: float) -> None:
    return


BROKEN, SEALED = "Input/output error", "Read-only file system"
FULL = "the image store is full"
CHUNK = 2 * SYNC_EVERY
# What fails, how that is told, and how many bytes have been written then.
FAULTS = {
    "EIO write 0": (BROKEN, 0),
    "EIO write 1": (BROKEN, 0),
    f"EIO write {SYNC_EVERY - 1}": (BROKEN, 0),
    f"EIO write {3 * SYNC_EVERY}": (BROKEN, 3 * SYNC_EVERY),
    "EIO fsync 0": (BROKEN, 0),
    "EIO fsync 4": (BROKEN, 0),
    "EIO fsync 9": (BROKEN, 2 * SYNC_EVERY),
    "EROFS change 0": (SEALED, 0),
    f"EROFS write {2 * SYNC_EVERY}": (SEALED, 2 * SYNC_EVERY),
    f"ENOSPC write {2 * SYNC_EVERY}": (FULL, 0),  # its room is given back
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_download_onto_a_disk_that_fails_says_so_and_goes_on_when_it_is_well(ssvm: Stage, disk: Disk, fault: str) -> None:
    url, (why, written) = ssvm.source.serve("/a", whole(LARGE)), FAULTS[fault]
    disk.told(fault)
    with pytest.raises(Refused, match=why) as refused:
        await ssvm.fetch(url)
    assert str(refused.value).startswith(secstorage.PASSING), "the server tries it again"
    assert disk.told("well") > 0
    assert [] == visible(ssvm)
    record, before = ssvm.store / "incoming/image-1/record.json", len(ssvm.source.asked)
    done = json.loads(record.read_bytes())["done"] if record.exists() else 0
    assert written - CHUNK < done if why != FULL else not record.exists()
    assert hashlib.sha256(LARGE).hexdigest() == (await ssvm.fetch(url)).sha256
    assert ([done or None] if done < len(LARGE) else []) == ssvm.source.ranges()[before:]
    assert ["image-1"] == visible(ssvm)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of a probe that cannot be removed
async def test_each_change_of_a_download_and_a_deletion_may_fail_once(ssvm: Stage, disk: Disk) -> None:
    """One after the other, until none is left that could."""
    url, met, number = ssvm.source.serve("/a", whole(SMALL)), 1, 0
    while met:
        disk.told(f"EIO change {number}")
        with contextlib.suppress(Refused):
            await ssvm.fetch(url)
            await ssvm.role.run_task("d", DeleteImage(store="store-1", image="image-1"), nothing)
        met, number = disk.told("well"), number + 1
        assert visible(ssvm) in ([], ["image-1"])
        assert hashlib.sha256(SMALL).hexdigest() == (await ssvm.fetch(url)).sha256
        assert ["image-1"] == visible(ssvm)
        await ssvm.role.run_task("d", DeleteImage(store="store-1", image="image-1"), nothing)
        assert [] == visible(ssvm)
    assert number > 10


async def test_bytes_that_cannot_be_read_are_not_given_out_as_if_they_were_there(ssvm: Stage, disk: Disk) -> None:
    got = await ssvm.fetch(ssvm.source.serve("/a", whole(LARGE)))
    ticket = FetchTicket(store="store-1", image="image-1", sha256=got.sha256, expires=SystemClock().now() + 60)
    url, bearer = f"https://127.0.0.9:{ssvm.role.port}/images/store-1/image-1", sign_ticket(KEY, ticket)
    fresh(disk)
    disk.told(f"EIO read {len(LARGE) // 2}")
    async with aiohttp.ClientSession() as client:
        with pytest.raises(aiohttp.ClientError):
            async with client.get(url, headers={"Authorization": f"Bearer {bearer}"}, ssl=False) as answer:
                await answer.read()
        disk.told("well")
        async with client.get(url, headers={"Authorization": f"Bearer {bearer}"}, ssl=False) as answer:
            assert LARGE == await answer.read()


def fresh(disk: Disk) -> None:
    """What the kernel remembers of files is forgotten."""
    for place in disk.place.rglob("*"):
        if place.is_file():
            with place.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


async def test_one_image_that_cannot_be_read_is_set_aside(ssvm: Stage, disk: Disk) -> None:
    """The other one can."""
    large = (await ssvm.fetch(ssvm.source.serve("/a", whole(LARGE)))).sha256
    await ssvm.fetch(ssvm.source.serve("/b", whole(SMALL)), "image-2")
    fresh(disk)
    disk.told(f"EIO read:{large} 0")
    found = await ssvm.role.run_task("s", Scrub(store="store-1", mend=True), nothing)
    disk.told("well")
    assert isinstance(found, Scrubbed)
    assert (("image-1",), ["image-2"]) == (found.damaged, visible(ssvm))


async def test_a_disk_that_reads_nothing_has_no_damaged_images(ssvm: Stage, disk: Disk) -> None:
    """A scrub sets nothing aside then; when it reads again all is as it was."""
    await ssvm.fetch(ssvm.source.serve("/a", whole(LARGE)))
    await ssvm.fetch(ssvm.source.serve("/b", whole(noise(3_000_000))), "image-2")
    disk.told("EIO read 20000")
    with pytest.raises(Refused, match="the image store cannot be used: Input/output error"):
        await ssvm.role.run_task("s", Scrub(store="store-1", mend=True), nothing)
    disk.told("well")
    assert ["image-1", "image-2"] == sorted(visible(ssvm))
    found = await ssvm.role.run_task("s2", Scrub(store="store-1", mend=True), nothing)
    assert isinstance(found, Scrubbed)
    assert (2, ()) == (found.objects, found.damaged)


async def test_bytes_that_are_an_object_already_are_not_asked_for_again(ssvm: Stage, disk: Disk) -> None:
    """The disk fails between the object and its image: what fails is the writing of the image's own file."""
    url = ssvm.source.serve("/a", whole(LARGE))
    disk.told("EIO create:image-1.json.new 0")
    with pytest.raises(Refused, match=BROKEN):
        await ssvm.fetch(url)
    assert disk.told("well") == 1
    assert [hashlib.sha256(LARGE).hexdigest()] == [place.name for place in (disk.place / "objects").iterdir()]
    assert [] == visible(ssvm)
    await ssvm.fetch(url)
    assert ([None], ["image-1"]) == (ssvm.source.ranges(), visible(ssvm))
