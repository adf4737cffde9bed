"""NFS shares: what a URL says of one, read strictly, and what a machine is told to mount. Pure.

Both sides read such URLs: the server those of image stores, a secondary storage VM those of templates. Options are taken from a
list, because they end up on a command line of root. Not to choose: whether a dead server is waited for (`hard`, `soft`).
"""

import posixpath
import re
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import msgspec

from sysvm.basics.errors import Refused

MAX_URL = 2048
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?\.?")
_ADDRESS6 = re.compile(r"[0-9A-Fa-f:.]{2,45}")
_SAFE = "/:@!$&'()*+,;=-._~"
_VERSIONS = ("3", "4", "4.0", "4.1", "4.2")
_WORDS: dict[str, tuple[str, ...]] = {"vers": _VERSIONS, "proto": ("tcp", "tcp6"), "sec": ("sys",)}
_NUMBERS: dict[str, tuple[int, int]] = {
    "port": (1, 65535),
    "mountport": (1, 65535),
    "rsize": (4096, 1 << 20),
    "wsize": (4096, 1 << 20),
    "nconnect": (1, 16),
}
_ALIASES = {"nfsvers": "vers"}
_NOT_OURS = {
    "hard": "whether a dead server is waited for is not to choose: work that it holds up fails, and goes on when it is back",
    "sec": "there is no Kerberos in a secondary storage VM: sec=sys is the only way",
    "proto": "NFS is spoken over TCP: proto=tcp or proto=tcp6",
}
_NOT_OURS["soft"] = _NOT_OURS["softerr"] = _NOT_OURS["timeo"] = _NOT_OURS["retrans"] = _NOT_OURS["hard"]


class NfsShare(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A folder of an NFS server."""

    server: str  # a name, or an address without brackets
    path: str
    options: tuple[str, ...] = ()  # "vers=4.1", sorted

    @property
    def host(self) -> str:
        """The server as URLs and `mount` write it."""
        return f"[{self.server}]" if ":" in self.server else self.server

    @property
    def url(self) -> str:
        """The one spelling of it."""
        query = f"?{'&'.join(self.options)}" if self.options else ""
        return f"nfs://{self.host}{quote(self.path, safe=_SAFE)}{query}"

    @property
    def place(self) -> str:
        """The same without options: two that differ in nothing else are one."""
        return msgspec.structs.replace(self, options=()).url

    @property
    def source(self) -> str:
        """What is mounted, as `mount` takes it."""
        return f"{self.host}:{self.path}"

    def value(self, name: str) -> str:
        """Of an option; empty when it is not given."""
        return next((value for key, _, value in (each.partition("=") for each in self.options) if key == name), "")

    def with_version(self, version: str) -> "NfsShare":
        """The same, of this version unless the URL names one."""
        if not version or self.value("vers"):
            return self
        return msgspec.structs.replace(self, options=tuple(sorted((*self.options, _option("vers", version)))))


def parse_share(url: str) -> NfsShare:
    """nfs://<server>[:<port>]/<export>[?<option>=<value>&...]; raises Refused with a sentence for the user."""
    if len(url) > MAX_URL:
        raise Refused(f"The url is longer than {MAX_URL} characters")
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise Refused("The url holds characters that belong in no URL: write them as %XX")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise Refused(f"This is no URL: {error}") from error
    host = parts.hostname or ""
    if parts.scheme.lower() != "nfs" or not (_ADDRESS6 if ":" in host else _HOST).fullmatch(host):
        raise Refused(f"The url of an NFS share must look like nfs://<server>/<export>; {url!r} does not")
    if "@" in parts.netloc:
        raise Refused("A url must not hold credentials")
    if parts.fragment:
        raise Refused("The url of an NFS share has no part after #")
    if port is not None and not port:
        raise Refused("Port 0 is no port")
    given = parts.query if port is None else "&".join(filter(None, (parts.query, f"port={port}")))
    return NfsShare(server=host, path=_path(url, parts.path), options=_options(given))


def _path(url: str, text: str) -> str:
    plain = unquote(text)
    if not plain.isprintable() or "\\" in plain:
        raise Refused("The path of the url holds characters that no export has")
    if ".." in plain.split("/"):
        raise Refused("The path of the url must not go upward with ..")
    clean = posixpath.normpath("/" + plain.lstrip("/")) if plain else ""
    if clean in ("", "/"):
        raise Refused(f"The url {url!r} names no export: nfs://<server>/<export>")
    return clean


def _options(query: str) -> tuple[str, ...]:
    found: dict[str, str] = {}
    for name, value in parse_qsl(query.replace(",", "&"), keep_blank_values=True):
        option = _option(_ALIASES.get(name, name), value)
        key = option.partition("=")[0]
        if found.setdefault(key, option) != option:
            raise Refused(f"The option {key} of the NFS share is given twice")
    return tuple(sorted(found.values()))


def _option(name: str, value: str) -> str:
    if value in _WORDS.get(name, ()) or (name in _NUMBERS and _is_number(value, *_NUMBERS[name])):
        return f"{name}={value}"
    if name in _NOT_OURS:
        raise Refused(f"The option {name} of an NFS share is refused: {_NOT_OURS[name]}")
    if name in _WORDS:
        raise Refused(f"The option {name} of an NFS share is one of {', '.join(_WORDS[name])}; not {value!r}")
    if name in _NUMBERS:
        least, most = _NUMBERS[name]
        raise Refused(f"The option {name} of an NFS share is a number from {least} to {most}; not {value!r}")
    known = ", ".join(sorted((*_WORDS, *_NUMBERS)))
    raise Refused(f"There is no option {name!r} of an NFS share; there are {known}")


def _is_number(text: str, least: int, most: int) -> bool:
    return text.isascii() and text.isdigit() and least <= int(text) <= most
