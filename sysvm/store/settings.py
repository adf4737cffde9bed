"""Every setting: default, type, scopes, whether it works at once, and what it means.

The names are CloudStack's, in its spelling; `canonical` forgives case and old names. `queries/settings.py` reads values.
The declarations themselves are lines of `settings.jsonl`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from sysvm.basics.mail import parse_address, parse_addresses
from sysvm.systemvms.names import parse_listen

TRUE = "true"


class Setting(msgspec.Struct, frozen=True):
    """One setting. `scopes`: where, besides global, a value can be kept."""

    name: str
    default: str | None
    type: str  # Boolean | Number | Decimal | String
    category: str
    about: str
    scopes: tuple[str, ...] = ()
    dynamic: bool = False  # in force at once; else at the next start of the server
    hidden: bool = False  # stored sealed, never shown
    options: tuple[str, ...] = ()
    least: float | None = None
    form: str = ""  # of a string, if not any text will do: one of FORMS

    def typed(self, text: str | None) -> Any:
        """The value of a text that was checked when it was stored."""
        if text is None or (text == "" and self.type != "String"):
            return None
        return TYPES[self.type](text)

    def fault(self, text: str) -> str:
        """Why `text` is no value of this setting; empty when it is one."""
        if self.type == "Boolean" and text.lower() not in ("true", "false"):
            return f"There is error in the value for the configuration {self.name}: it is true or false"
        if self.type in ("Number", "Decimal"):
            return self._number_fault(text)
        if self.options and text not in self.options:
            return f"The value of {self.name} is one of: {', '.join(self.options)}"
        return _form_fault(self, text) if self.form and text else ""

    def _number_fault(self, text: str) -> str:
        try:
            number = (int if self.type == "Number" else float)(text)
        except ValueError:
            return f"There was an error trying to parse the value {text} of {self.name}: it is a {self.type.lower()}"
        if number != number or abs(number) > 2**62:
            return f"The value of {self.name} is out of range"
        if self.least is not None and number < self.least:
            return f"The value of {self.name} is at least {self.least:g}"
        return ""


def _form_fault(setting: Setting, text: str) -> str:
    parse, meaning = FORMS[setting.form]
    try:
        parse(text)
    except ValueError as error:
        return f"The value of {setting.name} is {meaning}: {error}"
    return ""


def _boolean(text: str) -> bool:
    return text.lower() == TRUE


TYPES: dict[str, Callable[[str], Any]] = {"Boolean": _boolean, "Number": int, "Decimal": float, "String": str}
FORMS: dict[str, tuple[Callable[[str], Any], str]] = {
    "listen": (parse_listen, "an address with or without a port (192.0.2.1:53, [::]:53)"),
    "mail": (parse_addresses, "mail addresses, separated by commas"),
    "mailbox": (parse_address, "a mail address"),
}
ALIASES = {"router.template.xen": "router.template.xenserver"}
DECLARED = Path(__file__).with_name("settings.jsonl")


def _declared() -> dict[str, Setting]:
    found = msgspec.json.Decoder(Setting).decode_lines(DECLARED.read_bytes())
    return {setting.name.lower(): setting for setting in found}


SETTINGS = _declared()


def canonical(name: str) -> str:
    """The key of SETTINGS for any spelling of a name."""
    lower = name.strip().lower()
    return ALIASES.get(lower, lower)
