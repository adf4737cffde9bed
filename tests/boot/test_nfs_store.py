"""An image store on NFS in the demo's zone: a real server, and a secondary storage VM that has a kernel to mount it with."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sysvm import images
from tests.boot.ganesha import MOUNT_PORT, Ganesha, serving
from tests.boot.images import guest_of, is_ready, percent, registered, source, store
from tests.boot.login import ssh
from tests.boot.outside import place_outside
from tests.boot.patience import NotYet
from tests.boot.world import World

pytestmark = [pytest.mark.root, pytest.mark.template]
LAST = 249  # of the server's address
OLD = f"vers=3&mountport={MOUNT_PORT}"


@contextmanager
def nfs_store(demo: World, nfs: Ganesha) -> Iterator[str]:
    """The zone's only writable image store, by its id; afterwards it is as it was, with a container as worker: by itself."""
    client = demo.client
    (first,) = client.rows("listImageStores", "imagestore")
    client.call("updateImageStore", id=first["id"], readonly="true")
    made = client.call("addImageStore", name="share", provider="NFS", url=nfs.url, zoneid=first["zoneid"])["imagestore"]
    try:
        yield str(made["id"])
    finally:
        client.call("updateImageStore", id=first["id"], readonly="false")
        client.call("deleteImageStore", id=made["id"])
        demo.until(lambda: runtime(demo) == "container" or None, "the secondary storage VM is a container again")
        demo.until(demo.all_run, "everything runs again")


def runtime(demo: World) -> str:
    """Of the secondary storage VM."""
    return str(demo.machine("secondarystoragevm")["runtime"])


def is_served(demo: World, id_: str) -> bool:
    """Raises NotYet, with what is wrong."""
    row = store(demo, id_)
    if row.get("message") or not row["disksizetotal"]:
        raise NotYet(str(row.get("message")))
    return True


def checked(demo: World) -> list[str]:
    """What `ssvm-check` says of stores, inside the machine."""
    done = ssh(demo, "ssvm-check")
    if done.returncode not in (0, 1):
        raise NotYet(done.stderr)
    return [line for line in done.stdout.splitlines() if line.split(": ")[1] == "store"]


def test_images_live_on_an_nfs_server_that_dies_and_comes_back(demo: World, tmp_path: Path):
    """The worker becomes a VM and says why. The server dies in the middle of a download, which is named and wedges nothing; it
    comes back, the template is whole, and a guest runs from it. Another template is fetched from the share."""
    demo.until(demo.all_run, "everything runs")
    with place_outside(demo, LAST) as place, serving(place, tmp_path) as nfs, nfs_store(demo, nfs) as id_:
        demo.until(lambda: is_served(demo, id_), "the share is mounted, and its size is told")
        row = demo.machine("secondarystoragevm")
        assert ("vm", True) == (row["runtime"], "share is NFS, which a container cannot mount" in row["runtimewhy"])
        with source(demo) as there, registered(demo, "on-nfs", there.url) as template:
            demo.until(lambda: percent(demo, template) >= 40, "much of it is on the share")
            the_server_dies_and_comes_back(demo, nfs, id_)
            there.rest.set()
            demo.until(lambda: is_ready(demo, template), "the template is on the share")
            assert 1 == len(list((nfs.share / "objects").iterdir()))
            with guest_of(demo, template) as (_, state):
                assert "Running" == state
        shutil.copy(images.build_guest(images.cache_folder(), print).disk, nfs.share / "tiny.qcow2")
        for name, options in (("from-nfs", "vers=4.1"), ("from-nfs-3", f"{OLD}&rsize=65536&nconnect=2&port=2049")):
            with registered(demo, name, f"{nfs.url}/tiny.qcow2?{options}") as template:
                demo.until(lambda id_=template: is_ready(demo, id_), f"a template is fetched from a share, {options}")
        a_store_of_version_3_is_served(demo, nfs, store(demo, id_)["zoneid"])


def a_store_of_version_3_is_served(demo: World, nfs: Ganesha, zone: str) -> None:
    """Mounted and written to."""
    (nfs.share / "three").mkdir()
    url = f"{nfs.url}/three?{OLD}&proto=tcp&wsize=32768"
    made = demo.client.call("addImageStore", name="three", provider="NFS", url=url, zoneid=zone)["imagestore"]
    demo.until(lambda: is_served(demo, made["id"]), "the share of version 3 is mounted, and can be written")
    demo.until(lambda: (nfs.share / "three/objects").is_dir() or None, "it is laid out")
    demo.client.call("deleteImageStore", id=made["id"])


def the_server_dies_and_comes_back(demo: World, nfs: Ganesha, id_: str) -> None:
    """It is named in the listing, in an alert and by the machine itself, whose directory beside it is as good as before."""
    nfs.stop()
    demo.until(lambda: "has not answered" in str(store(demo, id_).get("message")) or None, "the dead server is named")
    assert any("share cannot be used: nfs://" in text for text in demo.alerts().values())
    good, bad = sorted(checked(demo), reverse=True)
    assert good.startswith("Good: store: /sysvm/store/"), good
    silent = ("has not answered for ", "does not answer: Connection timed out")
    assert bad.startswith(tuple(f"ERROR: store: nfs://{nfs.place.address}/export {words}" for words in silent)), bad
    nfs.start()
    demo.until(lambda: is_served(demo, id_), "the share is served again")
