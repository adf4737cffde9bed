"""Small files, short functions, no loose ends."""

import ast
import re
import subprocess
from functools import cache
from pathlib import Path

from tests.structure.documents import ROOT

MARK = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")


@cache
def files() -> list[Path]:
    """Every file of the project that git knows or would take."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [path for name in listed.stdout.splitlines() if (path := ROOT / name).is_file() and "vendor" not in name]


def modules(*folders: str) -> list[Path]:
    # A migration is as long as what it makes; it is written once and read never.
    mine = [path for path in files() if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in folders]
    return [path for path in mine if "versions" not in path.parts]


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def share(numbers: list[int], part: float) -> int:
    return sorted(numbers)[int(len(numbers) * part)]


def lengths(path: Path) -> list[tuple[int, str]]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [node for node in ast.walk(tree(path)) if isinstance(node, kinds)]
    return [((node.end_lineno or node.lineno) - node.lineno + 1, f"{path.name}:{node.name}") for node in nodes]


def test_functions_are_short():
    """Median at most 8 lines, 95 of 100 under 40, none over 80."""
    found = [length for path in modules("sysvm") for length in lengths(path)]
    numbers = [number for number, _ in found]
    assert share(numbers, 0.5) <= 8
    assert share(numbers, 0.95) < 40
    assert [length for length in found if length[0] > 80] == []


def test_files_are_small():
    """Median at most 150 lines, 95 of 100 under 500, none over 600."""
    found = {path: len(path.read_text().splitlines()) for path in modules("sysvm", "tests", "bench", "docs")}
    numbers = list(found.values())
    assert share(numbers, 0.5) <= 150
    assert share(numbers, 0.95) < 500
    assert [path.name for path, number in found.items() if number > 600] == []


def test_every_module_says_what_it_is_for():
    without = [str(path.relative_to(ROOT)) for path in modules("sysvm", "bench", "docs") if ast.get_docstring(tree(path)) is None]
    assert without == []


def test_nothing_is_left_for_later():
    here = Path(__file__)
    texts = {path: path.read_text(errors="replace") for path in files() if path != here and path.suffix not in (".svg", ".png")}
    assert [str(path.relative_to(ROOT)) for path, text in texts.items() if MARK.search(text)] == []


def test_bugs_are_caught_where_work_begins_only():
    """`except Exception` is for the loop of the engine, a task of an agent, the answer to a call, and finding out whose op of
    several it was: anything else hides bugs."""
    found = {path.relative_to(ROOT / "sysvm") for path in modules("sysvm") if "except Exception" in path.read_text()}
    assert {
        Path("orchestrator/engine.py"),
        Path("agent/core.py"),
        Path("wire/peer.py"),
        Path("store/together.py"),
    } == found


def test_no_file_is_named_after_nothing():
    assert [path.name for path in modules("sysvm") if path.stem in ("utils", "util", "helpers", "misc", "common")] == []
