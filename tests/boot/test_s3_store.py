"""An image store in a bucket in the demo's zone: a real S3 server outside, and everything that users do with images."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sysvm.agent.roles.secstorage.s3 import S3
from sysvm.basics.clock import SystemClock
from tests.agent_storage.s3_server import Server, served
from tests.boot.images import guest_of, is_ready, registered, source, store
from tests.boot.outside import curl
from tests.boot.patience import NotYet
from tests.boot.world import World

pytestmark = [pytest.mark.root, pytest.mark.template]


@contextmanager
def bucket_store(demo: World, server: Server, staging: Path) -> Iterator[str]:
    """The zone's only writable image store, by its id; afterwards it is as it was."""
    client, bucket = demo.client, server.bucket()
    (first,) = client.rows("listImageStores", "imagestore")
    worker = demo.uuid("secondarystoragevm")
    life = demo.incarnation(worker)
    given = {
        "endpoint": bucket.url.removeprefix("http://"), "usehttps": "false", "bucket": bucket.name,
        "accesskey": bucket.access_key, "secretkey": bucket.secret_key, "staging": str(staging),
    }  # fmt: skip
    details = {f"details[0].{name}": value for name, value in given.items()}
    client.call("updateImageStore", id=first["id"], readonly="true")
    made = client.call("addImageStore", name="bucket", provider="S3", zoneid=first["zoneid"], **details)["imagestore"]
    try:
        demo.until(lambda: demo.incarnation(worker) > life, "the secondary storage VM is handed the folder")
        demo.until(demo.all_run, "it serves")
        yield str(made["id"])
    finally:
        client.call("updateImageStore", id=first["id"], readonly="false")
        client.call("deleteImageStore", id=made["id"])


def message(demo: World, id_: str, text: str) -> bool:
    """Raises NotYet, with what is told of the store."""
    told = str(store(demo, id_).get("message", ""))
    if text not in told or bool(text) != bool(told):
        raise NotYet(told)
    return True


def test_templates_guests_and_snapshots_live_in_a_bucket(demo: World, tmp_path: Path):
    """A template comes, a guest runs from it, its volume is snapshotted and the snapshot given out; the server dies and comes
    back. What is deleted is gone from the bucket."""
    client = demo.client
    demo.until(demo.all_run, "everything runs")
    with served("swift", demo.places.outside) as server, bucket_store(demo, server, tmp_path) as id_:
        bucket = S3(server.newest(), SystemClock().now)
        demo.until(lambda: message(demo, id_, ""), "nothing is wrong with it")
        with source(demo) as there, registered(demo, "in-bucket", there.url) as template:
            there.rest.set()
            demo.until(lambda: is_ready(demo, template), "the template is in the bucket")
            with guest_of(demo, template) as (guest, state):
                assert "Running" == state
                (disk,) = client.rows("listVolumes", "volume", listall="true", virtualmachineid=guest)
                snapshot = client.job("createSnapshot", volumeid=disk["id"])["snapshot"]
                assert "BackedUp" == snapshot["state"]
                assert 2 == len(list(bucket.entries("images/")))
                the_server_dies_and_comes_back(demo, server, id_)
                url = str(client.job("extractSnapshot", id=snapshot["id"], zoneid=disk["zoneid"])["snapshot"]["url"])
                curl("--fail", "-o", str(tmp_path / "got"), url)
                got = hashlib.sha256((tmp_path / "got").read_bytes()).hexdigest()
                assert bucket.head(f"objects/{got}") is not None
            client.job("deleteSnapshot", id=snapshot["id"])
        demo.until(lambda: not list(bucket.entries("")) or None, "nothing is left in the bucket")
        assert [] == [place for place in tmp_path.rglob("*") if place.is_file() and place.name != "got"]
    demo.until(demo.all_run, "everything runs again")


def the_server_dies_and_comes_back(demo: World, server: Server, id_: str) -> None:
    """It is named in the listing, and no longer when it is back."""
    server.kill()
    demo.until(lambda: message(demo, id_, "does not answer"), "the dead server is named")
    server.start()
    demo.until(lambda: message(demo, id_, ""), "it is used again")
