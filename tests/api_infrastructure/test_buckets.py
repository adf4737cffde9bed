"""Image stores in a bucket of an S3 server: what addImageStore takes, what it keeps secret, and what machines are told."""

from typing import Any

import pytest
import trustme

from sysvm.api.rules import buckets
from sysvm.basics.errors import Refused
from sysvm.store import tables
from sysvm.store.queries import image_stores
from sysvm.wire.documents import Bucket
from tests.api.stage import refusal
from tests.orchestrator.tale import Tale, tell

GIVEN = {
    "accesskey": "AK", "secretkey": "do-not-tell", "bucket": "images", "endpoint": "S3.example.org", "staging": "/srv/wait",
}  # fmt: skip


def test_details_are_read() -> None:
    place = buckets.read({**GIVEN, "region": "eu-west-1"})
    told = Bucket(url="https://s3.example.org", name="images", access_key="AK", secret_key="do-not-tell", region="eu-west-1")
    assert (told, "/srv/wait", "https://s3.example.org/images") == (place.bucket, place.staging, place.url)


SERVERS = [
    ("s3.example.org:9000", "true", "https://s3.example.org:9000"),
    ("https://s3.example.org:443/", "true", "https://s3.example.org"),
    ("10.1.2.3:80", "false", "http://10.1.2.3"),
    ("http://[fd00::1]:9000", "FALSE", "http://[fd00::1]:9000"),
]


@pytest.mark.parametrize(("endpoint", "https", "url"), SERVERS)
def test_the_server_is_spelled_in_one_way(endpoint: str, https: str, url: str) -> None:
    assert url == buckets.read({**GIVEN, "endpoint": endpoint, "usehttps": https}).bucket.url


REFUSED = [
    ({"bucket": ""}, "needs the detail bucket"),
    ({"staging": ""}, "a directory that every host of the zone has"),
    ({"staging": "wait"}, "file:///path"),
    ({"staging": "/etc"}, "belongs to the system"),
    ({"sockettimeout": "5"}, "has no detail 'sockettimeout'"),
    ({"s3signer": "S3SignerType"}, "Signature Version 4"),
    ({"bucket": "Images"}, "no name of a bucket"),
    ({"bucket": "a/b"}, "no name of a bucket"),
    ({"bucket": "a..b"}, "no name of a bucket"),
    ({"region": "eu west"}, "no name of a region"),
    ({"secretkey": "a b"}, "secretkey holds characters"),
    ({"usehttps": "perhaps"}, "true or false"),
    ({"endpoint": "http://s3.example.org"}, "they must agree"),
    ({"endpoint": "s3.example.org/path"}, "neither"),
    ({"endpoint": "user@s3.example.org"}, "neither"),
    ({"endpoint": "s3.example.org:port"}, "not understood"),
    ({"endpoint": "s3.example.org?x"}, "neither"),
    ({"endpoint": "s3.example.org:0"}, "neither"),
    ({"cacertificate": "-----BEGIN"}, "no certificate in PEM form"),
]


@pytest.mark.parametrize(("changes", "text"), REFUSED)
def test_details_that_are_wrong_are_named(changes: dict[str, str], text: str) -> None:
    with pytest.raises(Refused, match=text):
        buckets.read({**GIVEN, **changes})


async def add(tale: Tale, name: str = "bucket", **changes: str) -> Any:
    zone = await tale.one("listZones")
    details = {f"details__0__{key}": value for key, value in {**GIVEN, **changes}.items()}
    return await tale.ask("addImageStore", zoneid=zone["id"], provider="S3", name=name, **details)


def test_machines_are_told_the_secret_and_nobody_else_is() -> None:
    """Hosts hand over the directory in which images wait; running machines live their next incarnation for it."""

    async def story(tale: Tale) -> None:
        await tale.system_vms(2)
        pem = trustme.CA().cert_pem.bytes().decode()
        store = await add(tale, cacertificate=pem)
        assert ("S3", "s3", "https://s3.example.org/images") == (store["providername"], store["protocol"], store["url"])
        shown = await tale.ask("listImageStores", id=store["id"])
        (row,) = await tale.rows(tables.image_store, tables.image_store.c.protocol == "s3")
        events = await tale.told()
        assert "do-not-tell" not in f"{store}{shown}{row.details}{events}"
        assert "details" not in shown[0]
        zone, vault = tale.zone_id, tale.cloud.vault
        _, served = await tale.cloud.store.read(lambda tx: image_stores.to_serve(tx, zone, vault))
        assert (
            Bucket(url="https://s3.example.org", name="images", access_key="AK", secret_key="do-not-tell", ca=pem.strip())
            == served.bucket
        )
        await tale.until(
            lambda tx: any(
                [mount.path for mount in life.spec.stores] == ["/store", "/srv/wait"]
                for host in tale.cloud.earth.hosts.values()
                for life in host.driver.lives()
            )
        )
        with refusal(431, "is image store bucket already"):
            await add(tale, "again", staging="/srv/other")
        with refusal(431, "The directory /srv/wait is that of image store bucket already"):
            await add(tale, "again", bucket="others")

    tell(story)
