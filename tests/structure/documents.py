"""The written documents: which there are, and what in them can be checked."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOP = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "images/README.md", "packages/README.md")

_link = re.compile(r"\[[^\]]+\]\((?!https?:)([^)#]+)(#[^)]*)?\)")
_code = re.compile(r"`([^`\n]+)`")
_block = re.compile(r"^```[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
_path = re.compile(r"[\w.*<>-]+(?:/[\w.*<>@-]+)*/?")


def documents() -> list[Path]:
    """Every document that people write or read."""
    return [ROOT / name for name in TOP] + sorted((ROOT / "docs").rglob("*.md"))


@cache
def text(document: Path) -> str:
    """What it says."""
    return document.read_text()


def links(document: Path) -> Iterator[str]:
    """Targets of its links to other files."""
    return (match[1] for match in _link.finditer(text(document)))


def words_of_code(document: Path) -> Iterator[str]:
    """What stands between backticks, outside of blocks."""
    return (match[1] for match in _code.finditer(_block.sub("", text(document))))


def command_lines(document: Path) -> Iterator[str]:
    """Lines of its blocks, and words in backticks, without comments."""
    for block in _block.findall(text(document)):
        for line in block.splitlines():
            yield line.split("  #")[0].split(" # ")[0].strip()
    yield from words_of_code(document)


def paths(document: Path) -> Iterator[str]:
    """What stands in backticks and looks like a file or folder of the project."""
    first = {entry.name for entry in ROOT.iterdir()}
    for word in words_of_code(document):
        if _path.fullmatch(word) and "/" in word and word.split("/")[0] in first:
            yield word
