"""Another system VM template comes to the demo as an image of its own, and its router runs it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from sysvm import images
from sysvm.cli.client import Json
from tests.boot.world import World

pytestmark = [pytest.mark.root, pytest.mark.template]
SETTING = "router.template.lxc"


@pytest.fixture
def image(demo: World) -> Iterator[images.Export]:
    """The newest template as a file, in the import folder of the demo's image store."""
    cache = images.cache_folder()
    made = images.export(cache, images.list_templates(cache)[0], "lxc", print)
    (store,) = demo.client.rows("listImageStores", "imagestore")
    folder = Path(str(store["url"]).removeprefix("file://")) / "import"
    folder.mkdir(exist_ok=True)
    shutil.copyfile(made.file, folder / "next.tar")
    yield made
    (folder / "next.tar").unlink()


def registered(demo: World, image: images.Export) -> Json:
    """Ready in the zone, and on the host's primary storage."""
    client, zone = demo.client, demo.machine("router")["zoneid"]
    asked = {"name": "next", "displaytext": "next", "format": "TAR", "hypervisor": "LXC", "zoneid": zone}
    sums = f"{{SHA-256}}{image.sha256}"
    made = client.call("registerTemplate", **asked, url="file:///next.tar", templatetype="ROUTING", checksum=sums)
    template: Json = made["template"][0]

    def prepared() -> bool:
        (row,) = client.call("prepareTemplate", templateid=template["id"], zoneid=zone)["template"]
        places = row["downloaddetails"]
        return len(places) == 2 and all(one["downloadState"] == "DOWNLOADED" for one in places)

    demo.until(lambda: prepared() or None, "the template is on secondary and primary storage")
    return template


def test_a_router_runs_the_template_that_is_named(demo: World, image: images.Export):
    """Once it is replaced; and the one of the release again when nothing is named."""
    client, router = demo.client, demo.machine("router")
    template = registered(demo, image)
    client.call("updateConfiguration", name=SETTING, value="next", zoneid=router["zoneid"])
    assert router["templateid"] == demo.machine("router")["templateid"]
    client.job("rebootRouter", id=router["id"])
    assert template["id"] == demo.machine("router")["templateid"]
    client.call("resetConfiguration", name=SETTING, zoneid=router["zoneid"])
    client.job("rebootRouter", id=router["id"])
    assert router["templateid"] == demo.machine("router")["templateid"]
    client.job("deleteTemplate", id=template["id"])
