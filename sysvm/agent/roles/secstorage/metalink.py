"""Metalinks: lists of mirrors that have one and the same file, with its checksum (RFC 5854, and version 3). Pure.

Of several files the first one counts. Mirrors are in the order of the author's preference; those that cannot be fetched from
(magnet links, torrents, rsync) are left out. Entities are refused, so a list cannot grow while it is read.
"""

import xml.etree.ElementTree as Xml
from dataclasses import dataclass

from sysvm.agent.roles.secstorage.checksum import NAMES, Checksum, parse_checksum
from sysvm.agent.roles.secstorage.source import Source, parse_source
from sysvm.basics.errors import Refused

MAX_BYTES = 1024 * 1024
MAX_MIRRORS = 50
_BEST = ("sha512", "sha256", "sha1", "md5")
_LAST = 999_999


@dataclass(frozen=True, slots=True)
class Metalink:
    """What a list says."""

    mirrors: tuple[Source, ...]
    checksum: Checksum | None
    size: int  # 0: it does not say


def parse_metalink(text: bytes) -> Metalink:
    """The list in `text`; raises Refused when it is none, or names nothing that can be fetched."""
    if len(text) > MAX_BYTES or b"<!DOCTYPE" in text or b"<!ENTITY" in text:
        raise Refused("the metalink is too long, or defines entities")
    try:
        file = _first(Xml.fromstring(text), "file")
    except Xml.ParseError as error:
        raise Refused(f"the metalink cannot be read: {error}") from error
    if file is None:
        raise Refused("the metalink names no file")
    mirrors = _mirrors(file)
    if not mirrors:
        raise Refused("the metalink names no mirror that can be fetched from")
    size = (_text(_first(file, "size")) or "0").strip()
    return Metalink(mirrors, _checksum(file), int(size) if size.isdigit() else 0)


def _all(element: Xml.Element, name: str) -> list[Xml.Element]:
    return [found for found in element.iter() if found.tag.rpartition("}")[2] == name]


def _first(element: Xml.Element, name: str) -> Xml.Element | None:
    return next(iter(_all(element, name)), None)


def _text(element: Xml.Element | None) -> str:
    return (element.text or "").strip() if element is not None else ""


def _mirrors(file: Xml.Element) -> tuple[Source, ...]:
    ranked = []
    for at, element in enumerate(_all(file, "url")[:MAX_MIRRORS]):
        try:
            source = parse_source(_text(element))
        except Refused:
            continue
        if source.scheme in ("http", "https", "ftp") and not source.is_metalink:
            ranked.append((_rank(element), at, source))
    return tuple(dict.fromkeys(source for _, _, source in sorted(ranked, key=lambda one: one[:2])))


def _rank(element: Xml.Element) -> int:
    """The smaller the better: `priority` of RFC 5854, or `preference` of version 3, which is the other way round."""
    priority, preference = element.get("priority", ""), element.get("preference", "")
    if priority.isdigit():
        return int(priority)
    return _LAST - int(preference) if preference.isdigit() else _LAST


def _checksum(file: Xml.Element) -> Checksum | None:
    """The best one of the whole file; those of pieces stand inside `pieces`."""
    of_pieces = {id(one) for pieces in _all(file, "pieces") for one in _all(pieces, "hash")}
    found = {}
    for element in _all(file, "hash"):
        name = NAMES.get(element.get("type", "").upper())
        if name is not None and id(element) not in of_pieces:
            found[name] = _text(element)
    best = next((name for name in _BEST if name in found), None)
    return parse_checksum(found[best]) if best is not None else None
