"""Keyboards that are not alike: what is typed in the page, and what a guest's own layout makes of the keys that reach it.

The page's own code runs in node; the guest's keyboard is libxkbcommon's, with the layouts of xkb-data.
"""

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from sysvm.api.rules.guests import KEYBOARDS
from tests.agent_console import keyboards

KEYSYMS = "vendor/novnc/core/input/keysymdef.js"
TEXT = "The quick {brown} fox: 100% <jumps> ~ over_the \"lazy\" dog! a@b.c #1 $x = [y]; z\\w | 'q' & (2*3)/4 + ^5 - `w`?"
OWN = {
    "de": "äöüÄÖÜß€§", "fr": "éèçàùêîôÊë€µ", "de-ch": "éèàäöüçêñ", "es": "ñÑ¿¡áéíóúüç", "it": "àèéìòù€", "pt": "ãõçáêà",
    "se": "åäöÅÄÖ", "uk": "£¬", "no": "æøåÆØÅ", "dk": "æøå", "fr-be": "éèçàùêµ", "pt-br": "çãõáéê", "is": "þæöðáé",
}  # fmt: skip

STROKES = """
import { strokes } from "%(page)s/keys.js";
import keysyms from "%(page)s/vendor/novnc/core/input/keysymdef.js";
const found = [...strokes(%(text)s, (point) => keysyms.lookup(point), %(layout)s)];
console.log(JSON.stringify(found.map((stroke) => stroke.map(([, code]) => code))));
"""
TYPED = """
import { Translator } from "%(page)s/keys.js";
import keysyms from "%(page)s/vendor/novnc/core/input/keysymdef.js";
const sent = [];
const translator = new Translator((point) => keysyms.lookup(point), (keysym, code, down) => sent.push([code, down]));
translator.layout = %(layout)s;
for (const [keysym, code, down] of %(keys)s) translator.key(keysym, code, down);
console.log(JSON.stringify(sent));
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's code about keys, where node takes it for modules, as browsers do."""
    folder = tmp_path_factory.mktemp("page")
    for name in ("keys.js", "layouts.js", KEYSYMS):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(keyboards.PLACE.parent / name, folder / name)
    (folder / "package.json").write_text('{"type": "module"}')
    return folder


async def node(page: Path, script: str, **values: Any) -> Any:
    """What a script says, as JSON."""
    program = shutil.which("node")
    assert program is not None, "the package nodejs is not installed"
    filled = script % {"page": page, **{name: json.dumps(value) for name, value in values.items()}}
    words = (program, "--input-type=module", "-e", filled)
    process = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE)
    said, _ = await process.communicate()
    assert process.returncode == 0
    return json.loads(said)


def test_the_pages_layouts_are_those_of_real_keyboards():
    """Otherwise: python -m tests.agent_console.keyboards."""
    assert keyboards.script() == keyboards.PLACE.read_text()


def test_the_api_knows_the_same_keyboards():
    """deployVirtualMachine takes what the page can show."""
    assert set(keyboards.LAYOUTS) == set(KEYBOARDS)


@pytest.mark.parametrize("layout", sorted(set(keyboards.LAYOUTS)))
async def test_a_text_arrives_whole_whatever_keyboard_the_guest_has(page: Path, layout: str):
    text = TEXT + OWN.get(layout, "")
    assert keyboards.pressed(layout, await node(page, STROKES, text=text, layout=layout)) == text


def keys_of(*pressed: tuple[int, str]) -> list[list[object]]:
    """Each key down and up."""
    return [[keysym, code, down] for keysym, code in pressed for down in (True, False)]


SHIFT, CTRL, ALTGR, CAPS, LEFT = 0xFFE1, 0xFFE3, 0xFE03, 0xFFE5, 0xFF51


@pytest.mark.parametrize(
    ("what", "layout", "keys", "sent"),
    [
        ("a z of a German keyboard, for an American guest", "us", keys_of((ord("z"), "KeyY")), "+KeyZ -KeyZ"),
        (
            "a slash, with Shift on the German one and without on the American one", "us",
            [[SHIFT, "ShiftLeft", True], *keys_of((ord("/"), "Digit7")), [SHIFT, "ShiftLeft", False]],
            "+ShiftLeft -ShiftLeft +Slash -Slash +ShiftLeft -ShiftLeft",
        ),
        (
            "an at sign, with AltGr here and Shift there", "us",
            [[ALTGR, "AltRight", True], *keys_of((ord("@"), "KeyQ")), [ALTGR, "AltRight", False]],
            "+ShiftLeft +Digit2 -Digit2 -ShiftLeft",
        ),
        (
            "an at sign, with Shift here and AltGr there", "de",
            [[SHIFT, "ShiftLeft", True], *keys_of((ord("@"), "Digit2")), [SHIFT, "ShiftLeft", False]],
            "+ShiftLeft -ShiftLeft +AltRight +KeyQ -KeyQ -AltRight +ShiftLeft -ShiftLeft",
        ),
        (
            "a command, by the letter that is meant", "fr",
            [[CTRL, "ControlLeft", True], *keys_of((ord("a"), "KeyA")), [CTRL, "ControlLeft", False]],
            "+ControlLeft +KeyQ -KeyQ -ControlLeft",
        ),
        ("a key without a character", "fr", keys_of((LEFT, "ArrowLeft")), "+ArrowLeft -ArrowLeft"),
        (
            "Caps Lock, which is in the character", "de", keys_of((CAPS, "CapsLock"), (ord("Y"), "KeyY")),
            "+ShiftLeft +KeyZ -KeyZ -ShiftLeft",
        ),
        ("a letter behind a dead key", "de", keys_of((ord("ê"), "KeyE")), "+Backquote -Backquote +KeyE -KeyE"),
        ("what is on no key there", "us", keys_of((0x010030A2, "KeyA")), "+KeyA -KeyA"),
    ],
)  # fmt: skip
async def test_a_key_becomes_the_guests_key_for_the_same_character(
    page: Path, what: str, layout: str, keys: list[list[object]], sent: str
):
    found = await node(page, TYPED, layout=layout, keys=keys)
    assert " ".join(f"{'+' if down else '-'}{code}" for code, down in found) == sent, what


@pytest.mark.parametrize(
    ("said", "layout"),
    [("de", "de"), ("de-CH", "de-ch"), ("de_DE", "de"), ("gb", "uk"), ("en", "us"), ("sc", "sc"), ("xx", ""), ("", "")],
)
async def test_a_layout_is_known_by_its_names(page: Path, said: str, layout: str):
    script = 'import { layoutOf } from "%(page)s/keys.js"; console.log(JSON.stringify(layoutOf(%(said)s)));'
    assert await node(page, script, said=said) == layout
