"""Secondary storage when things go wrong: its VM dies in the middle of a download, its disk is full."""

import http.server
import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sysvm import images
from sysvm.cli.client import Json
from tests.boot.patience import NotYet
from tests.boot.world import World

IMAGE = 48_000_000
STORE, BALLAST = 1_000_000_000, 900_000_000

pytestmark = [pytest.mark.root, pytest.mark.template]


@dataclass
class Source:
    """An image on a web server that holds back its second half until `rest` is set."""

    url: str
    asked: list[int] = field(default_factory=list)  # where each request wants to begin
    rest: threading.Event = field(default_factory=threading.Event)


@contextmanager
def source(demo: World) -> Iterator[Source]:
    """The demo's guest image, padded so that its half is more than what is written to disk at once; outside."""
    image = images.build_guest(images.cache_folder(), print).disk.read_bytes().ljust(IMAGE, b"\0")

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            begin = int((re.match(r"bytes=(\d+)-", self.headers.get("Range", "")) or [0, 0])[1])
            made.asked.append(begin)
            self.send_response(206 if begin else 200)
            self.send_header("ETag", '"tiny"')
            self.send_header("Content-Length", str(len(image) - begin))
            if begin:
                self.send_header("Content-Range", f"bytes {begin}-{len(image) - 1}/{len(image)}")
            self.end_headers()
            middle = max(begin, len(image) // 2)
            with suppress(OSError):
                self.wfile.write(image[begin:middle])
                made.rest.wait()
                self.wfile.write(image[middle:])

        def log_message(self, *args: object) -> None:
            """Nothing."""

    with http.server.ThreadingHTTPServer((demo.places.outside, 0), Handler) as server:
        made = Source(f"http://{demo.places.outside}:{server.server_address[1]}/slow.qcow2")
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield made
        finally:
            made.rest.set()
            server.shutdown()
            thread.join()


@contextmanager
def registered(demo: World, name: str, url: str) -> Iterator[str]:
    """A template, by its id; deleted at the end."""
    client = demo.client
    (tiny,) = client.rows("listTemplates", "template", templatefilter="self", name="tiny")
    made = client.call(
        "registerTemplate", name=name, displaytext=name, format="QCOW2", hypervisor="KVM", ostypeid=tiny["ostypeid"],
        url=url, zoneid=tiny["zoneid"],
    )["template"][0]  # fmt: skip
    try:
        yield made["id"]
    finally:
        client.job("deleteTemplate", id=made["id"])


def template(demo: World, id_: str) -> Json:
    """Its row."""
    (row,) = demo.client.rows("listTemplates", "template", templatefilter="self", id=id_)
    return row


def is_ready(demo: World, id_: str) -> bool:
    """Raises NotYet, with the status."""
    row = template(demo, id_)
    if not row["isready"]:
        raise NotYet(row.get("status", ""))
    return True


def percent(demo: World, id_: str) -> int:
    """How much of a template is downloaded."""
    told = re.match(r"(\d+)%", str(template(demo, id_).get("status")))
    return int(told[1]) if told else 0


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
