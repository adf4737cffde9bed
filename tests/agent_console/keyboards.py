"""Real keyboards, from libxkbcommon and the layouts of xkb-data: what their keys bear, and what comes of pressing them.

`python -m tests.agent_console.keyboards` writes the page's sysvm/web/console/layouts.js from them.
"""

import ctypes
import functools
from collections.abc import Iterable
from pathlib import Path

PLACE = Path(__file__).resolve().parents[2] / "sysvm/web/console/layouts.js"

# The page's name: layout and variant of xkb-data.
LAYOUTS = {
    "us": ("us", ""), "uk": ("gb", ""), "de": ("de", ""), "de-ch": ("ch", "de"), "dk": ("dk", ""), "es": ("es", ""),
    "fi": ("fi", ""), "fr": ("fr", ""), "fr-be": ("be", ""), "fr-ch": ("ch", "fr"), "is": ("is", ""), "it": ("it", ""),
    "jp": ("jp", ""), "nl-be": ("be", ""), "no": ("no", ""), "pt": ("pt", ""), "pt-br": ("br", ""), "sc": ("us", ""),
    "se": ("se", ""),
}  # fmt: skip

# Keys that bear characters, by their place (as browsers name it) and their number in the kernel.
KEYS = {
    "Backquote": 41, **{f"Digit{digit}": 2 + n for n, digit in enumerate("1234567890")}, "Minus": 12, "Equal": 13,
    **{f"Key{letter}": 16 + n for n, letter in enumerate("QWERTYUIOP")}, "BracketLeft": 26, "BracketRight": 27,
    **{f"Key{letter}": 30 + n for n, letter in enumerate("ASDFGHJKL")}, "Semicolon": 39, "Quote": 40, "Backslash": 43,
    "IntlBackslash": 86, **{f"Key{letter}": 44 + n for n, letter in enumerate("ZXCVBNM")}, "Comma": 51, "Period": 52,
    "Slash": 53, "IntlRo": 89, "IntlYen": 124, "Space": 57,
}  # fmt: skip
OTHERS = {"ShiftLeft": 42, "AltRight": 100, "Enter": 28, "Tab": 15}
OFFSET = 8  # X counts keys from 8
NOTHING = "\0"

# What a dead key puts onto the next character.
DEAD = {
    "dead_grave": "\u0300", "dead_acute": "\u0301", "dead_circumflex": "\u0302", "dead_tilde": "\u0303",
    "dead_diaeresis": "\u0308", "dead_abovering": "\u030a", "dead_caron": "\u030c", "dead_cedilla": "\u0327",
}  # fmt: skip

_xkb = ctypes.CDLL("libxkbcommon.so.0")
_Pointer = ctypes.c_void_p
for _name in ("xkb_context_new", "xkb_keymap_new_from_names", "xkb_state_new", "xkb_compose_state_new"):
    getattr(_xkb, _name).restype = _Pointer
_xkb.xkb_compose_table_new_from_locale.restype = _Pointer


class _Names(ctypes.Structure):
    _fields_ = [(name, ctypes.c_char_p) for name in ("rules", "model", "layout", "variant", "options")]


@functools.cache
def _context() -> "ctypes.c_void_p":
    return _Pointer(_xkb.xkb_context_new(0))


@functools.cache
def _keymap(layout: str) -> "ctypes.c_void_p":
    name, variant = LAYOUTS[layout]
    names = _Names(b"evdev", b"pc105", name.encode(), variant.encode(), b"")
    found = _xkb.xkb_keymap_new_from_names(_context(), ctypes.byref(names), 0)
    assert found, f"xkb-data has no layout {name} {variant}"
    return _Pointer(found)


def _keysym(layout: str, code: int, level: int) -> int:
    found = ctypes.POINTER(ctypes.c_uint32)()
    count = _xkb.xkb_keymap_key_get_syms_by_level(_keymap(layout), code + OFFSET, 0, level, ctypes.byref(found))
    return int(found[0]) if count == 1 else 0


def borne(layout: str, key: str) -> str:
    """What a key bears: plain, with Shift, with AltGr, with both; NUL for nothing that is one character."""
    found = []
    for level in range(4):
        keysym = _keysym(layout, KEYS[key], level)
        name = ctypes.create_string_buffer(64)
        _xkb.xkb_keysym_get_name(keysym, name, 64)
        number = _xkb.xkb_keysym_to_utf32(keysym)
        found.append(DEAD.get(name.value.decode(), chr(number) if number > 31 else NOTHING))
    return "".join(found).rstrip(NOTHING)


def pressed(layout: str, strokes: Iterable[list[str]]) -> str:
    """The text that comes of key strokes: in each, keys go down in their order, and up in the other one."""
    state = _Pointer(_xkb.xkb_state_new(_keymap(layout)))
    table = _Pointer(_xkb.xkb_compose_table_new_from_locale(_context(), b"en_US.UTF-8", 0))
    assert table, "there is no compose table (package libx11-data)"
    compose = _Pointer(_xkb.xkb_compose_state_new(table, 0))
    said = ""
    for stroke in strokes:
        for key in stroke:
            code = {**KEYS, **OTHERS}[key] + OFFSET
            said += _heard(state, compose, code)
            _xkb.xkb_state_update_key(state, code, 1)
        for key in reversed(stroke):
            _xkb.xkb_state_update_key(state, {**KEYS, **OTHERS}[key] + OFFSET, 0)
    return said


def _heard(state: "ctypes.c_void_p", compose: "ctypes.c_void_p", code: int) -> str:
    keysym = _xkb.xkb_state_key_get_one_sym(state, code)
    _xkb.xkb_compose_state_feed(compose, keysym)
    status = _xkb.xkb_compose_state_get_status(compose)
    text = ctypes.create_string_buffer(16)
    if status == 0:
        _xkb.xkb_state_key_get_utf8(state, code, text, 16)
    elif status == 2:
        _xkb.xkb_compose_state_get_utf8(compose, text, 16)
        _xkb.xkb_compose_state_reset(compose)
    elif status == 3:
        return "\N{REPLACEMENT CHARACTER}"
    return text.value.decode().replace("\r", "\n")


def script() -> str:
    """layouts.js."""
    lines = [
        "// Made from xkb-data by `python -m tests.agent_console.keyboards`. What each key of a guest's keyboard bears: plain,",
        "// with Shift, with AltGr, with both; \\0 is nothing, and a combining character is a dead key.",
        "",
        f"export const KEYS = {' '.join(KEYS)!r}.split(' ');".replace("'", '"'),
        "",
        "export const LAYOUTS = {",
    ]
    for name in LAYOUTS:
        rows = ", ".join(_literal(borne(name, key)) for key in KEYS)
        lines.append(f'  "{name}": [{rows}],')
    return "\n".join([*lines, "};", ""])


def _literal(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace(NOTHING, "\\0")
    return '"' + "".join(c if 32 <= ord(c) < 0x300 and c != "\xad" else f"\\u{ord(c):04x}" for c in escaped) + '"'


if __name__ == "__main__":
    PLACE.write_text(script())
