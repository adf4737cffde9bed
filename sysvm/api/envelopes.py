"""From a reply to the bytes of an answer: one top-level key, CloudStack's names around the rows. Pure."""

from typing import Any

import msgspec

from sysvm.api import errors, xml
from sysvm.api.call import Flat, One, Reply, Rows, Success
from sysvm.api.catalogue import Command
from sysvm.api.http import Response
from sysvm.basics.errors import Refused

ERROR = "errorresponse"
XML_TYPE = "text/xml; charset=UTF-8"
JSON_TYPE = "application/json; charset=UTF-8"

_encode = msgspec.json.Encoder().encode


def body(command: Command, reply: Reply) -> dict[str, Any]:
    """What stands inside the envelope."""
    if isinstance(reply, Rows):
        # An empty list is {}: Go and cs rely on it.
        return {"count": reply.count, reply.key or command.result: reply.rows} if reply.rows else {}
    if isinstance(reply, One):
        return {command.result: reply.row}
    if isinstance(reply, Success):
        return {"success": True, "displaytext": reply.displaytext} if reply.displaytext else {"success": True}
    assert isinstance(reply, Flat), reply
    return reply.body


def render(envelope: str, content: dict[str, Any], *, as_json: bool, version: str = "") -> bytes:
    """The bytes of an answer."""
    if not as_json:
        return xml.document(envelope, content, version)
    encoded = _encode({envelope: content})
    # Nulls are left out; looking for them in the text costs less than looking at each value.
    return _encode({envelope: without_nulls(content)}) if b":null" in encoded else encoded


def without_nulls(value: Any) -> Any:
    """The value without fields that are None, at any depth."""
    if isinstance(value, dict):
        return {name: without_nulls(item) for name, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [without_nulls(item) for item in value if item is not None]
    return value


def refusal(envelope: str, refused: Refused, *, as_json: bool, code: errors.Code | None = None) -> Response:
    """An error: HTTP status = errorcode, the text also in X-Description."""
    code = code or errors.CODES[refused.why]
    content: dict[str, Any] = {"uuidList": [{"uuid": uuid} for uuid in refused.subjects], "errorcode": code.status}
    if code.exception:
        content["cserrorcode"] = code.exception
    content["errortext"] = refused.text
    headers = [(b"x-description", _header_text(refused.text))]
    type_ = JSON_TYPE if as_json else XML_TYPE
    return Response(code.status, render(envelope, content, as_json=as_json), type_, headers)


def _header_text(text: str) -> bytes:
    return " ".join(text.split()).encode("latin-1", "replace")[:1024]
