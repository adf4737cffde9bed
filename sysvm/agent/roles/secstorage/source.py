"""URLs that users give, read strictly. Pure; raises Refused with a sentence for the user.

Not here: where the name leads to (`addresses.py`). What two URL parsers could read differently is refused: credentials (but of
ftp and sftp, which need some), backslashes, white space, control characters, anything that is not printable ASCII.
"""

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit

import msgspec

from sysvm.basics.errors import Refused
from sysvm.wire.nfs import parse_share

MAX_URL = 2048
PORTS = {"http": 80, "https": 443, "ftp": 21, "sftp": 22, "nfs": 2049}
WITH_LOGIN = ("ftp", "sftp")
FILE, NFS = "file", "nfs"
METALINKS = (".metalink", ".meta4")
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?\.?")
_ADDRESS6 = re.compile(r"[0-9A-Fa-f:.]{2,45}")


@dataclass(frozen=True, slots=True)
class Source:
    """Where an image comes from."""

    scheme: str
    host: str  # a name, or an address without brackets
    port: int
    target: str  # path and query, as they are sent
    user: str = ""
    password: str = ""

    @property
    def path(self) -> str:
        """What a file is called at the source; raises Refused for what could be a second command or lead upwards."""
        plain = unquote(self.target.partition("?")[0])
        if any(ord(char) < 32 or ord(char) == 127 for char in plain) or ".." in plain.split("/"):
            raise Refused("the path of the URL leads upwards or has control characters in it")
        return plain

    @property
    def is_metalink(self) -> bool:
        """It is a list of places that have the image."""
        return self.target.partition("?")[0].lower().endswith(METALINKS)

    @property
    def url(self) -> str:
        """The one spelling of it, without credentials."""
        if self.scheme == FILE:
            return f"file://{self.target}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.target}"


def parse_source(url: str) -> Source:
    """The source in `url`."""
    if len(url) > MAX_URL:
        raise Refused(f"the URL is longer than {MAX_URL} characters")
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise Refused("the URL has characters that belong in no URL: write them as %XX")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise Refused(f"this is no URL: {error}") from error
    if parts.scheme == FILE:
        return _file(parts)
    if parts.scheme == NFS:
        return _shared(url)
    if parts.scheme not in PORTS:
        what = parts.scheme or "a URL without scheme"
        raise Refused(f"images are fetched by http, https, ftp, sftp, nfs or from the import folder, not by {what!r}")
    if "@" in parts.netloc and parts.scheme not in WITH_LOGIN:
        raise Refused("the URL has a user name or password in it: a download with credentials is not possible")
    host = parts.hostname or ""
    if not (_ADDRESS6 if ":" in host else _HOST).fullmatch(host):
        raise Refused("the URL names no host")
    if port == 0:
        raise Refused("port 0 is no port")
    target = quote(parts.path or "/", safe="/%:;=@!$&'()*+,~-._")
    if parts.query:
        target = f"{target}?{parts.query}"
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if not (user + password).isprintable():
        raise Refused("the user name or password in the URL has control characters in it")
    return Source(parts.scheme, host, port or PORTS[parts.scheme], target, user, password)


def _file(parts: SplitResult) -> Source:
    """A file of the import folder of the image store."""
    if parts.netloc not in ("", "localhost"):
        raise Refused("a file URL names a file of the import folder: file:///name")
    source = Source(FILE, "", 0, quote(parts.path, safe="/%:;=@!$&'()*+,~-._"))
    if not source.path.strip("/"):
        raise Refused("the file URL names no file of the import folder")
    return source


def _shared(url: str) -> Source:
    """A file of an NFS share; what is mounted for it is the folder that the file is in."""
    share = parse_share(url)
    options = tuple(option for option in share.options if not option.startswith("port="))
    port = int(share.value("port") or PORTS[NFS])
    target = msgspec.structs.replace(share, options=options).url.removeprefix(f"nfs://{share.host}")
    return Source(NFS, share.server, port, target)


def follow(source: Source, location: str) -> Source:
    """Where a redirect leads. A secure source may not lead to an insecure one."""
    there = parse_source(urljoin(source.url, location))
    if there.scheme not in ("http", "https"):
        raise Refused(f"the source redirects to {there.scheme}, which nobody has asked for")
    if (source.scheme, there.scheme) == ("https", "http"):
        raise Refused("the source leads from https to http, which could be changed on its way")
    return there
