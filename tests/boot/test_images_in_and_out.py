"""An image goes out of the demo's cloud by a link and comes into it by an upload, with curl from outside."""

import hashlib
from pathlib import Path

import pytest

from tests.boot.outside import curl
from tests.boot.world import World

pytestmark = [pytest.mark.root, pytest.mark.template]


def test_what_was_extracted_is_uploaded_again_and_is_the_same_image(demo: World, tmp_path: Path):
    """The link is good for this image only; the upload is over TLS, with the certificate of the built-in CA."""
    client, place = demo.client, tmp_path / "image"
    (tiny,) = client.rows("listTemplates", "template", templatefilter="all", name="tiny")
    url = str(client.job("extractTemplate", id=tiny["id"], mode="HTTP_DOWNLOAD")["template"]["url"])
    curl("--fail", "-o", str(place), url)
    assert f"{{SHA-256}}{hashlib.sha256(place.read_bytes()).hexdigest()}" == tiny["checksum"]
    assert curl("-o", "/dev/null", "-w", "%{http_code}", url.replace("/userdata/e", "/userdata/f")) == "403"

    ca = tmp_path / "ca.pem"
    ca.write_text(str(client.call("listCaCertificate")["cacertificates"]["certificate"]))
    given = {name: tiny[name] for name in ("format", "hypervisor", "zoneid")}
    up = client.call("getUploadParamsForTemplate", name="again", displaytext="again", **given)["getuploadparams"]
    shown = {"X-signature": up["signature"], "X-metadata": up["metadata"], "X-expires": up["expires"]}
    headers = [word for name, value in shown.items() for word in ("-H", f"{name}: {value}")]
    curl("--fail", "--cacert", str(ca), *headers, "-F", f"file=@{place}", str(up["postURL"]))

    def ready() -> bool:
        (row,) = client.rows("listTemplates", "template", templatefilter="all", id=up["id"])
        return bool(row["isready"]) and row["checksum"] == hashlib.sha256(place.read_bytes()).hexdigest()

    demo.until(lambda: ready() or None, "the uploaded template is ready")
    client.job("deleteTemplate", id=up["id"])
