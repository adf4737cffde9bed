"""Every command of the API, declared once: parameters, answer, event, and who may call it.

One line of JSON a command, one file a section. Parameters are words `name:type`, followed by `/length` where it is not
255 and by `!` where the parameter is required; a shape is what a row of an answer may have, `name:type`, where
`list<nic>` refers to another shape. Dispatch, validation, listApis, the role matrix and the tests all read this.

It says nothing about how a command is done. `not_yet.txt` lists what this release does not serve: such a command is
declared, so that its form is settled, but is neither listed nor done.
"""

import re
from functools import cache
from pathlib import Path

import msgspec

FOLDER = Path(__file__).parent
DEFAULT_LENGTH = 255

_param = re.compile(r"(?P<name>[^:]+):(?P<type>[a-z]+)(?:/(?P<length>\d+))?(?P<required>!?)")
_field = re.compile(r"(?P<name>[^:]+):(?P<type>[a-z]+)(?:<(?P<shape>[^>]+)>)?")


class Param(msgspec.Struct, frozen=True):
    """A parameter."""

    name: str  # as documented; matched without regard to case
    type: str  # string | uuid | integer | long | short | float | boolean | list | map | date
    length: int = DEFAULT_LENGTH
    required: bool = False


class Field(msgspec.Struct, frozen=True):
    """A field of a row."""

    name: str
    type: str  # string | boolean | integer | long | short | float | date | list | map | object
    shape: str = ""  # of the elements


class Command(msgspec.Struct):
    """A command. `roles`: anyone (no login) | all | domain (admins of a domain, too) | admin."""

    name: str
    tier: str
    kind: str  # sync | async | create | session
    result: str  # the key of the answer's object
    roles: str
    java: str  # package of the class that CloudStack has for it; jobs show it
    about: str
    params: str
    envelope: str = ""
    many: bool = False
    shape: str = ""
    event: str = ""
    section: str = ""
    parsed: dict[str, Param] = {}

    @property
    def is_async(self) -> bool:
        """Whether it is answered with a job."""
        return self.kind in ("async", "create")

    @property
    def java_class(self) -> str:
        """What queryAsyncJobResult calls it."""
        return f"org.apache.cloudstack.api.command.{self.java}.{self.name[0].upper()}{self.name[1:]}Cmd"

    def accepts(self) -> dict[str, Param]:
        """Parameters by lower-case name."""
        if not self.parsed and self.params:
            self.parsed = {param.name.lower(): param for param in map(parse_param, self.params.split(" "))}
        return self.parsed


class Shape(msgspec.Struct):
    """What a row may have."""

    name: str
    fields: str


def parse_param(word: str) -> Param:
    """`name:type/length!`"""
    match = _param.fullmatch(word)
    assert match is not None, word
    length = int(match["length"]) if match["length"] else DEFAULT_LENGTH
    return Param(match["name"], match["type"], length, bool(match["required"]))


def parse_field(word: str) -> Field:
    """`name:type<shape>`"""
    match = _field.fullmatch(word)
    assert match is not None, word
    return Field(match["name"], match["type"], match["shape"] or "")


@cache
def commands() -> dict[str, Command]:
    """Every declared command by its exact name."""
    decoder = msgspec.json.Decoder(Command)
    found: dict[str, Command] = {}
    for path in sorted(FOLDER.glob("[0-9]*.jsonl")):
        for command in decoder.decode_lines(path.read_bytes()):
            command.section = path.stem
            command.envelope = command.envelope or f"{command.name.lower()}response"
            command.shape = command.shape or command.result
            found[command.name] = command
    return found


@cache
def shapes() -> dict[str, tuple[Field, ...]]:
    """Every shape by name."""
    decoded = msgspec.json.Decoder(Shape).decode_lines((FOLDER / "shapes.jsonl").read_bytes())
    return {shape.name: tuple(map(parse_field, shape.fields.split(" "))) for shape in decoded}


@cache
def not_yet() -> dict[str, str]:
    """Commands that this release does not serve, each with the feature that it belongs to."""
    found: dict[str, str] = {}
    feature = ""
    for line in (FOLDER / "not_yet.txt").read_text().splitlines():
        if line.endswith(":"):
            feature = line.removesuffix(":")
        elif line and not line.startswith("#"):
            found[line.strip()] = feature
    return found
