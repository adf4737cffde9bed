"""What a document or a spec is called: the same on both ends of a link, also where one end is of another release."""

import typing
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from sysvm.basics.digest import digest
from sysvm.wire.documents import ConsoleProxyDocument, HostDocument, RouterDocument, SecStorageDocument
from sysvm.wire.machines import MachineSpec
from sysvm.wire.security_groups import SecurityGroupsDocument
from tests.agent import documents

KINDS = (RouterDocument, ConsoleProxyDocument, SecStorageDocument, HostDocument, SecurityGroupsDocument, MachineSpec)
FULL = documents.router(
    dhcp=documents.dhcp(), dns=documents.dns(), metadata=documents.metadata(password="p"),
    source_nat=documents.source_nat(), egress=documents.egress(True, documents.egress_rule("one", 80)),
    port_forwards=(documents.forward("two", 8080, 80),), firewall=(documents.allow("three", 8080),),
    static_nat=(documents.static(),),
)  # fmt: skip


def parts(kind: Any, seen: dict[Any, None]) -> Iterator[Any]:
    """The struct and all that it is made of."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        if kind in seen:
            return
        seen[kind] = None
        yield kind
        for hint in typing.get_type_hints(kind).values():
            yield from parts(hint, seen)
    for inner in typing.get_args(kind):
        yield from parts(inner, seen)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_no_part_says_what_is_at_its_default(kind: type[msgspec.Struct]):
    """Or a field that is new would give everything another name."""
    assert [] == [part.__name__ for part in parts(kind, {}) if not part.__struct_config__.omit_defaults]


def newer() -> type[msgspec.Struct]:
    """The router's document of a release that can do more."""
    return msgspec.defstruct(
        "RouterDocument", [("luggage", tuple[str, ...], ()), ("colour", str, "grey")], bases=(RouterDocument,),
        frozen=True, kw_only=True, omit_defaults=True, tag="router",
    )  # fmt: skip


@pytest.mark.parametrize("code", [msgspec.json, msgspec.msgpack], ids=lambda code: code.__name__)
def test_releases_agree_on_a_document_that_uses_nothing_new(code: Any):
    """Whichever of the two is the newer one."""
    sent = code.encode(FULL)
    assert digest(FULL) == digest(code.decode(sent, type=RouterDocument)) == digest(code.decode(sent, type=newer()))
    new = code.decode(sent, type=newer())
    assert digest(new) == digest(code.decode(code.encode(new), type=RouterDocument))


def test_what_is_new_and_used_is_another_document():
    """An older end cannot say that it has made it true."""
    new = msgspec.structs.replace(msgspec.json.decode(msgspec.json.encode(FULL), type=newer()), luggage=("bag",))
    assert digest(new) != digest(msgspec.json.decode(msgspec.json.encode(new), type=RouterDocument))
