"""Secondary storage when things go wrong: its VM dies in the middle of a download, its disk is full."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.boot.images import is_ready, percent, registered, source, template
from tests.boot.world import World

STORE, BALLAST = 1_000_000_000, 900_000_000

pytestmark = [pytest.mark.root, pytest.mark.template]


def test_a_download_goes_on_where_the_dead_secondary_storage_vm_was(demo: World):
    """kill -9 in its middle: the next life asks for the rest only, and the template is ready."""
    demo.until(demo.all_run, "everything runs")
    worker = demo.uuid("secondarystoragevm")
    with source(demo) as slow, registered(demo, "slow", slow.url) as id_:
        demo.until(lambda: percent(demo, id_) >= 40, "much of it is on the disk")
        init = demo.init(worker)
        assert init is not None
        os.kill(init, signal.SIGKILL)
        demo.until(lambda: len(slow.asked) > 1, "somebody asks again")
        slow.rest.set()
        demo.until(lambda: is_ready(demo, id_), "the template is ready")
        assert slow.asked[0] == 0 < slow.asked[-1], slow.asked
    demo.until(demo.all_run, "everything runs again")


@contextmanager
def small_store(demo: World, folder: Path) -> Iterator[Path]:
    """A small image store, the only one that takes images meanwhile; unmounted and removed at the end."""
    client = demo.client
    (first,) = client.rows("listImageStores", "imagestore")
    worker = demo.uuid("secondarystoragevm")
    life = demo.incarnation(worker)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={STORE}", "small", str(folder)], check=True)
    added = ""
    try:
        client.call("updateImageStore", id=first["id"], readonly="true")
        added = client.call(
            "addImageStore", name="small", provider="SysvmDirectory", zoneid=first["zoneid"], url=f"file://{folder}"
        )["imagestore"]["id"]
        demo.until(lambda: demo.incarnation(worker) > life, "the secondary storage VM is handed the store")
        demo.until(demo.all_run, "it serves")
        yield folder
    finally:
        client.call("updateImageStore", id=first["id"], readonly="false")
        if added:
            client.call("deleteImageStore", id=added)
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_image_store_is_told_leaves_nothing_half_and_is_used_again(demo: World, tmp_path: Path):
    """The reason is the template's status; once there is room it is downloaded without being asked again."""
    folder = tmp_path / "small"
    folder.mkdir()
    demo.until(demo.all_run, "everything runs")
    with small_store(demo, folder):
        with (folder / "ballast").open("wb") as ballast:
            os.posix_fallocate(ballast.fileno(), 0, BALLAST)
        with source(demo) as there, registered(demo, "big", there.url) as id_:
            there.rest.set()
            demo.until(lambda: "is full" in str(template(demo, id_).get("status")), "it is told")
            assert [path for path in folder.rglob("*.qcow2") if path.is_file()] == []
            (folder / "ballast").unlink()
            demo.until(lambda: is_ready(demo, id_), "the template is ready")
    demo.until(demo.all_run, "everything runs again")
