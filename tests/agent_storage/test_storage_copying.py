"""An image goes from store to store whole or not at all, and the source keeps it until it is told otherwise."""

import hashlib
from pathlib import Path

import msgspec
import pytest
from storage_stage import Stage, raw, whole

from sysvm.agent.roles.secstorage.checksum import parse_checksum
from sysvm.agent.roles.secstorage.incoming import Incoming
from sysvm.basics.digest import digest
from sysvm.basics.errors import Refused
from sysvm.wire.channel import CopyImage, DeleteImage, Downloaded
from sysvm.wire.documents import Store

DATA = raw(9 * 1024 * 1024)
SHA256 = hashlib.sha256(DATA).hexdigest()
WHOLE = {f"objects/{SHA256}", "images/image-1.json"}
ORDER = CopyImage(store="store-2", source="store-1", image="image-1", sha256=SHA256)


async def two_stores(ssvm: Stage, *, read_only: bool = False) -> Path:
    """The second store; the first one has the image, and may then become read-only."""
    await ssvm.fetch(ssvm.source.serve("/a", whole(DATA)))
    second = ssvm.store.with_name("second")
    second.mkdir()
    ssvm.mounted.add(str(second))
    stores = (
        Store(store="store-1", path=str(ssvm.store), read_only=read_only),
        Store(store="store-2", path=str(second)),
    )
    assert () == await ssvm.role.apply(ssvm.document(stores=stores))
    return second


async def copy(ssvm: Stage, **changes: str) -> Downloaded:
    async def progress(share: float) -> None:
        ssvm.said.append(share)

    got = await ssvm.role.run_task("c", msgspec.structs.replace(ORDER, **changes), progress)
    assert isinstance(got, Downloaded)
    return got


def files(store: Path) -> set[str]:
    return {str(place.relative_to(store)) for place in store.rglob("*") if place.is_file()}


@pytest.mark.parametrize("read_only", [False, True])
async def test_an_image_moves(ssvm: Stage, read_only: bool) -> None:
    """Copied, then deleted where it was, also when nothing new may come there."""
    second = await two_stores(ssvm, read_only=read_only)
    ssvm.said.clear()
    got = await copy(ssvm)
    assert (SHA256, len(DATA), "RAW") == (got.sha256, got.size, got.format)
    assert DATA == (second / "objects" / SHA256).read_bytes()
    assert (WHOLE, WHOLE, 1.0) == (files(ssvm.store), files(second), ssvm.said[-1])
    await ssvm.role.run_task("d", DeleteImage(store="store-1", image="image-1"), None)
    assert (set(), WHOLE) == (files(ssvm.store), files(second))


async def test_asked_again_it_is_done_even_when_the_source_has_nothing_any_more(ssvm: Stage) -> None:
    await two_stores(ssvm)
    first = await copy(ssvm)
    await ssvm.role.run_task("d", DeleteImage(store="store-1", image="image-1"), None)
    assert first == await copy(ssvm)


async def test_it_goes_on_where_a_killed_copy_was(ssvm: Stage) -> None:
    """The record says how far; the bytes before are not read from the source again."""
    second = await two_stores(ssvm)
    name = digest(["image-1", "store-1", SHA256])
    before = Incoming(second / "incoming/image-1", name, parse_checksum(f"{{SHA-256}}{SHA256}"))
    before.open(lambda _: None)
    before.restart("", len(DATA))
    before.append([DATA[: 5 << 20]])
    before.sync()
    before.close()
    ssvm.said.clear()
    assert SHA256 == (await copy(ssvm)).sha256
    assert ssvm.said[0] == 1.0, "the second piece was the last one"
    assert files(second) == WHOLE


async def test_damaged_bytes_do_not_move(ssvm: Stage) -> None:
    second = await two_stores(ssvm)
    place = ssvm.store / "objects" / SHA256
    place.chmod(0o644)
    place.write_bytes(DATA[:-1] + b"?")
    with pytest.raises(Refused, match="damaged"):
        await copy(ssvm)
    assert files(second) == set()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"image": "image-2"}, "not in the store"),
        ({"sha256": "0" * 64}, "other bytes"),
        ({"source": "store-3"}, "not served here"),
        ({"store": "store-1", "source": "store-2"}, "read-only"),
    ],
)
async def test_what_cannot_be_copied_says_why(ssvm: Stage, changes: dict[str, str], why: str) -> None:
    second = await two_stores(ssvm, read_only=True)
    with pytest.raises(Refused, match=why):
        await copy(ssvm, **changes)
    assert files(second) == set()


async def test_a_source_that_is_not_mounted_is_not_taken_for_empty(ssvm: Stage) -> None:
    await two_stores(ssvm)
    ssvm.mounted.remove(str(ssvm.store))
    with pytest.raises(Refused, match="not mounted"):
        await copy(ssvm)
