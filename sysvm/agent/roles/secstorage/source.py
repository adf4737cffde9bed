"""URLs that users give, read strictly. Pure; raises Refused with a sentence for the user.

Not here: where the name leads to (`addresses.py`). What two URL parsers could read differently is refused: credentials,
backslashes, white space, control characters, anything that is not printable ASCII.
"""

import re
from dataclasses import dataclass
from urllib.parse import quote, urljoin, urlsplit

from sysvm.basics.errors import Refused

MAX_URL = 2048
PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?\.?")
_ADDRESS6 = re.compile(r"[0-9A-Fa-f:.]{2,45}")


@dataclass(frozen=True, slots=True)
class Source:
    """Where an image comes from."""

    scheme: str
    host: str  # a name, or an address without brackets
    port: int
    target: str  # path and query, as they are sent

    @property
    def url(self) -> str:
        """The one spelling of it."""
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
    if parts.scheme not in PORTS:
        raise Refused(f"images are fetched by http or https, not by {parts.scheme or 'a URL without scheme'!r}")
    if "@" in parts.netloc:
        raise Refused("the URL has a user name or password in it: a download with credentials is not possible")
    host = parts.hostname or ""
    if not (_ADDRESS6 if ":" in host else _HOST).fullmatch(host):
        raise Refused("the URL names no host")
    if port == 0:
        raise Refused("port 0 is no port")
    target = quote(parts.path or "/", safe="/%:;=@!$&'()*+,~-._")
    return Source(parts.scheme, host, port or PORTS[parts.scheme], f"{target}?{parts.query}" if parts.query else target)


def follow(source: Source, location: str) -> Source:
    """Where a redirect leads. A secure source may not lead to an insecure one."""
    there = parse_source(urljoin(source.url, location))
    if (source.scheme, there.scheme) == ("https", "http"):
        raise Refused("the source leads from https to http, which could be changed on its way")
    return there
