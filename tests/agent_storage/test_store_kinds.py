"""One suite for all kinds of image stores: a folder, and a bucket of an S3 server."""

import os
from pathlib import Path

import pytest
from kept_images import LARGE, NOW, OTHER, UUID, kept, opened, sha
from storage_stage import noise

from sysvm.agent.roles.secstorage.store import SWEEP_AGE_S, ImageStore
from sysvm.basics.errors import Refused


@pytest.fixture(params=["folder", "swift", "moto"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ImageStore:
    """An empty one."""
    bucket = None if request.param == "folder" else request.getfixturevalue(request.param).bucket()
    return opened(tmp_path, bucket)


@pytest.mark.parametrize("data", [b"", b"x", noise(1000), LARGE], ids=["nothing", "a byte", "little", "parts"])
def test_what_is_kept_is_read_again_whole_and_in_ranges(store: ImageStore, data: bytes) -> None:
    made = kept(store, data)
    assert store.image(UUID) == made
    assert store.has(made.sha256)
    assert store.size(made.sha256) == len(data)
    with store.open(made.sha256) as file:
        assert file.read() == data
        for at, length in ((0, 10), (len(data) // 2, 7), (max(0, len(data) - 3), 100)):
            file.seek(at)
            assert file.read(length) == data[at : at + length]
        assert file.seek(0, os.SEEK_END) == len(data)
        assert file.read(1) == b""


def test_what_is_not_there_is_told(store: ImageStore) -> None:
    assert store.image(UUID) is None
    assert not store.has("0" * 64)
    with pytest.raises(FileNotFoundError):
        store.open("0" * 64)
    with pytest.raises(FileNotFoundError):
        store.size("0" * 64)
    with pytest.raises(Refused, match="UUID"):
        store.image("../../etc/passwd")
    store.forget(UUID)


def test_the_same_bytes_are_kept_once_and_go_with_their_last_image(store: ImageStore) -> None:
    made = kept(store, noise(1000))
    kept(store, noise(1000), OTHER)
    assert {UUID, OTHER} == {image.image for image in store.everything()}
    store.forget(UUID)
    assert (None, True) == (store.image(UUID), store.has(made.sha256))
    store.forget(OTHER)
    assert ([], False) == (store.everything(), store.has(made.sha256))


def test_an_image_of_other_bytes_takes_the_place_of_its_earlier_ones(store: ImageStore) -> None:
    kept(store, b"first")
    second = kept(store, b"second")
    assert store.image(UUID) == second
    assert 1 == len(store.everything())


def test_an_object_without_an_image_is_swept_when_it_is_old(store: ImageStore) -> None:
    folder = store.incoming(UUID)
    folder.mkdir()
    (folder / "data").write_bytes(b"orphan")
    store.keep(folder / "data", sha(b"orphan"))
    kept(store, b"wanted", OTHER)
    store.sweep(NOW())
    assert store.has(sha(b"orphan"))
    store.sweep(NOW() + SWEEP_AGE_S + 60)
    assert (False, True) == (store.has(sha(b"orphan")), store.has(sha(b"wanted")))


def test_what_has_not_come_wholly_is_no_image(store: ImageStore) -> None:
    folder = store.incoming(UUID)
    folder.mkdir()
    (folder / "data").write_bytes(b"half")
    assert (None, []) == (store.image(UUID), store.everything())
