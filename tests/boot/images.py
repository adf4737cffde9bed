"""Templates that come slowly from outside, image stores, and guests of a template, in the demo's zone."""

import http.server
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from sysvm import images
from sysvm.cli.client import Json
from tests.boot.patience import NotYet
from tests.boot.world import World

IMAGE = 48_000_000


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


def store(demo: World, id_: str) -> Json:
    """Its row."""
    (row,) = demo.client.rows("listImageStores", "imagestore", id=id_)
    return row


@contextmanager
def guest_of(demo: World, template: str) -> Iterator[tuple[str, str]]:
    """A guest of this template, by id and state; expunged at the end."""
    (one,) = demo.client.rows("listVirtualMachines", "virtualmachine", listall="true", name="one")
    given = {"zoneid": one["zoneid"], "serviceofferingid": one["serviceofferingid"], "networkids": one["nic"][0]["networkid"]}
    made = demo.client.job("deployVirtualMachine", templateid=template, name="another", **given)["virtualmachine"]
    try:
        yield str(made["id"]), str(made["state"])
    finally:
        demo.client.job("destroyVirtualMachine", id=made["id"], expunge="true")
