"""What addImageStore says of a bucket of an S3 server, in its details. Pure.

The server is named by an administrator and trusted like a host: it may have a private address. Its certificate is checked all the
same. Details that nothing would heed are refused, so that nobody believes in them.
"""

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from sysvm.api.rules import stores
from sysvm.basics.errors import Refused
from sysvm.wire.documents import Bucket

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\]")
_REGION = re.compile(r"[A-Za-z0-9-]{1,64}")
_KEY = re.compile(r"[!-~]{1,256}")
NEEDED = ("accesskey", "secretkey", "bucket", "endpoint", "staging")
OPTIONAL = ("usehttps", "region", "cacertificate", "s3signer")
SIGNERS = ("awssignaturev4", "awss3v4signertype", "v4")


@dataclass(frozen=True, slots=True)
class BucketPlace:
    """A bucket, and the directory of the hosts in which images wait until they are whole."""

    bucket: Bucket
    staging: str

    @property
    def url(self) -> str:
        """What no other store may be at."""
        return f"{self.bucket.url}/{self.bucket.name}"


def read(details: Mapping[str, str]) -> BucketPlace:
    """Raises Refused with the name of the detail that is wrong."""
    given = {name.lower(): value.strip() for name, value in details.items()}
    if unknown := sorted(set(given) - {*NEEDED, *OPTIONAL}):
        known = ", ".join((*NEEDED, *OPTIONAL))
        raise Refused(f"An image store of provider S3 has no detail {unknown[0]!r}; there are {known}")
    if missing := [name for name in NEEDED if not given.get(name)]:
        raise Refused(f"An image store of provider S3 needs the detail {missing[0]}{_meaning(missing[0])}")
    if (signer := given.get("s3signer", "v4")).lower() not in SIGNERS:
        raise Refused(f"Requests are signed with Signature Version 4; there is no s3signer {signer!r}")
    name = given["bucket"]
    if not _BUCKET.fullmatch(name) or ".." in name:
        raise Refused(f"{name!r} is no name of a bucket: 3 to 63 of a-z, 0-9, dot and dash")
    region = given.get("region") or "us-east-1"
    if not _REGION.fullmatch(region):
        raise Refused(f"{region!r} is no name of a region")
    for key in ("accesskey", "secretkey"):
        if not _KEY.fullmatch(given[key]):
            raise Refused(f"The detail {key} holds characters that no key has")
    bucket = Bucket(
        url=_server(given["endpoint"], https=_https(given.get("usehttps", "true"))),
        name=name,
        region=region,
        access_key=given["accesskey"],
        secret_key=given["secretkey"],
        ca=_ca(given.get("cacertificate", "")),
    )
    return BucketPlace(bucket, stores.shared_directory(given["staging"]))


def _meaning(name: str) -> str:
    if name != "staging":
        return ""
    return ": a directory that every host of the zone has, with room for the images that are just coming"


def _https(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise Refused(f"The detail usehttps is true or false, not {text!r}")
    return text.lower() == "true"


def _server(text: str, *, https: bool) -> str:
    """The endpoint as <host>[:<port>]; with a scheme it has to be that of usehttps."""
    scheme, found, rest = text.partition("://")
    host = rest if found else text
    wanted = "https" if https else "http"
    if found and scheme.lower() != wanted:
        raise Refused(f"The endpoint says {scheme} and usehttps={str(https).lower()} says {wanted}: they must agree")
    try:
        parts = urlsplit(f"//{host.removesuffix('/')}")
        port = parts.port
    except ValueError as error:
        raise Refused(f"The endpoint {text!r} is not understood: {error}") from error
    name = parts.netloc.removesuffix(f":{port}")
    if not _HOST.fullmatch(name) or parts.path or parts.query or parts.fragment or port == 0:
        raise Refused(f"The endpoint is <server> or <server>:<port>; {text!r} is neither")
    return f"{wanted}://{name.lower()}" + (f":{port}" if port is not None and port != (443 if https else 80) else "")


def _ca(text: str) -> str:
    if not text:
        return ""
    try:
        ssl.create_default_context(cadata=text)
    except (ssl.SSLError, ValueError) as error:
        raise Refused(f"The detail cacertificate is no certificate in PEM form: {error}") from error
    return text
