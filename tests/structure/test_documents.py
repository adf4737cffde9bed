"""What the documents say is so: commands, files, links, settings and generated pages."""

import re
import shlex
from collections import Counter
from pathlib import Path

import pytest

from docs.__main__ import FOLDER, PAGES
from sysvm.api import catalogue
from sysvm.cli.main import app
from sysvm.store.queries.alerts import NAMES, AlertType
from sysvm.store.settings import SETTINGS, canonical
from tests.structure.documents import ROOT, command_lines, documents, links, paths, text, words_of_code

by_name = pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))
GENERATED = set(PAGES)
# Not settings, though they look like some: fields, parameters, files, methods.
NO_SETTINGS = {"enable.consoleproxy.vm", "enable.secstorage.vm", "enable.router.vm"}
FORBIDDEN = {"utils.py"}
_setting = re.compile(r"[a-z0-9]+(?:\.[A-Za-z0-9]+){2,}")
_target = re.compile(r"^([a-z-]+):", re.MULTILINE)


@by_name
def test_links_between_documents_lead_somewhere(document: Path):
    lost = [target for target in links(document) if not (document.parent / target).exists()]
    assert lost == []


@by_name
def test_nothing_is_said_twice_in_a_document(document: Path):
    """Two people add the same line."""
    told = Counter(line for line in text(document).splitlines() if len(line) > 60)
    assert [line for line, times in told.items() if times > 1] == []


@by_name
def test_files_that_are_named_are_there(document: Path):
    """`folder/<name>.py` stands for any file there, `*` for some."""
    lost = [name for name in paths(document) if not is_there(name)]
    assert lost == []


@by_name
def test_modules_that_are_named_exist(document: Path):
    """Also those that are named without their folder."""
    named = {word for word in words_of_code(document) if re.fullmatch(r"[a-z_]+\.(py|jsonl|toml)", word)}
    assert [
        name for name in sorted(named - FORBIDDEN) if not any(ROOT.glob(f"[!.]*/**/{name}")) and not (ROOT / name).exists()
    ] == []


def is_there(name: str) -> bool:
    if name.startswith("var/"):
        return True  # made by the demo
    pattern = re.sub(r"<[^>]+>", "*", name.rstrip("/"))
    return any(ROOT.glob(pattern))


def targets() -> set[str]:
    return set(_target.findall((ROOT / "Makefile").read_text()))


@by_name
def test_make_targets_that_are_named_exist(document: Path):
    wanted = {words[1] for line in command_lines(document) if len(words := line.split()) > 1 and words[0] == "make"}
    assert wanted - targets() == set()


@by_name
def test_commands_of_sysvm_that_are_named_exist(document: Path):
    """Each with its options."""
    wrong = []
    for line in command_lines(document):
        words = shlex.split(line, comments=True) if is_a_command(line) else []
        if words and not exists(words[1:]):
            wrong.append(line)
    assert wrong == []


def is_a_command(line: str) -> bool:
    return re.match(r"(\.venv/bin/)?sysvm [a-z]", line) is not None and "…" not in line


def exists(words: list[str]) -> bool:
    """Whether the program takes these words, as far as its parser can tell. `a b | c` are two commands of one group."""
    if "|" in words:
        group = words[: words.index("|") - 1]
        members = [word for word in words[len(group) :] if word != "|"]
        return all(exists([*group, member]) for member in members)
    found, given = app, list(words)
    while given and given[0] in found and not given[0].startswith("-"):
        found = found[given.pop(0)]
    if found.default_command is None:
        return False
    known = {name for argument in found.assemble_argument_collection() for name in argument.names}
    return {word for word in given if word.startswith("--")} <= known


@by_name
def test_settings_that_are_named_exist(document: Path):
    # Generated pages are made of the settings themselves, and show examples of values besides.
    words = () if document.name in GENERATED else words_of_code(document)
    named = {word for word in words if _setting.fullmatch(word) and not _is_a_file(word)}
    assert [name for name in sorted(named - NO_SETTINGS) if canonical(name) not in SETTINGS] == []


def _is_a_file(word: str) -> bool:
    return word.rpartition(".")[2] in ("py", "md", "toml", "json", "jsonl", "sh", "txt", "ini", "squashfs")


@by_name
def test_api_commands_that_are_called_exist(document: Path):
    lines = (line.split() for line in command_lines(document))
    called = {words[1] for words in lines if len(words) > 1 and words[0] == "cs" and words[1][0].isalpha()}
    assert called - set(catalogue.commands()) == set()


@pytest.mark.parametrize("name", sorted(PAGES))
def test_generated_pages_are_fresh(name: str):
    """`python -m docs` writes them."""
    assert (FOLDER / name).read_text() == PAGES[name](), "run `.venv/bin/python -m docs`"


def test_the_readme_shows_the_two_commands_on_its_first_screen():
    first = text(ROOT / "README.md").splitlines()[:20]
    for command in ("make demo", "make test", "make down", "make bench"):
        assert any(line.startswith(command) for line in first), command


def test_every_folder_of_tests_is_explained():
    page = text(ROOT / "CONTRIBUTING.md")
    folders = [path.name for path in (ROOT / "tests").iterdir() if any(path.glob("*.py"))]
    assert [name for name in folders if f"`tests/{name}`" not in page] == []


def test_the_readme_has_a_place_for_the_benchmarks():
    page = text(ROOT / "README.md")
    assert 0 < page.index("<!-- bench -->") < page.index("<!-- /bench -->")


def test_every_alert_that_can_be_raised_is_explained():
    """docs/operations.md says what to do about each."""
    raised: set[str] = set()
    for module in (ROOT / "sysvm").rglob("*.py"):
        if module.name != "alerts.py" or module.parent.parent.name == "commands":
            raised |= set(re.findall(r"AlertType\.([A-Z_]+)", module.read_text()))
    page = text(FOLDER / "operations.md")
    assert raised
    assert [name for name in sorted(raised) if NAMES[AlertType[name]] not in page] == []


def test_every_turn_kind_and_every_layer_is_in_the_architecture():
    from sysvm.orchestrator.turns import KINDS

    page = text(ROOT / "ARCHITECTURE.md")
    folders = [path.name for path in (ROOT / "sysvm").iterdir() if (path / "__init__.py").exists()]
    assert [kind for kind in KINDS if f"`{kind}`" not in page] == []
    assert [name for name in folders if name not in page] == []
