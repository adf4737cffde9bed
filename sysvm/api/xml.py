"""Answers as XML: the mirror of the JSON form. Pure.

Lists repeat an element with the list's own name; what is null is left out.
"""

import re
from typing import Any
from xml.sax.saxutils import escape, quoteattr

_not_xml = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_name = re.compile(r"[A-Za-z_][\w.-]*")


def document(envelope: str, body: dict[str, Any], version: str = "") -> bytes:
    """The whole answer; `version` becomes an attribute of the root."""
    attribute = f" cloud-stack-version={quoteattr(version)}" if version else ""
    inside = "".join(_element(name, value) for name, value in body.items())
    return f'<?xml version="1.0" encoding="UTF-8"?><{envelope}{attribute}>{inside}</{envelope}>'.encode()


def _element(name: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return "".join(_element(name, item) for item in value)
    tag = name if _name.fullmatch(name) else "entry"  # keys of detail maps are free text
    return f"<{tag}>{_content(value)}</{tag}>"


def _content(value: Any) -> str:
    if isinstance(value, dict):
        return "".join(_element(str(name), item) for name, item in value.items())
    if isinstance(value, bool):
        return "true" if value else "false"
    return escape(_not_xml.sub("", str(value)))
