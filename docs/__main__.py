"""`python -m docs`: api.md from the catalogue of commands, settings.md from the list of settings.

Whether a command works is what the API itself goes by (catalogue/not_yet.txt). Whether a setting works is whether some
module of sysvm names it. Nothing is written by hand in these two files; tests/structure compares them with what is made here.
"""

from functools import cache
from itertools import groupby
from pathlib import Path

from sysvm.api import catalogue
from sysvm.api.catalogue import Command
from sysvm.store.settings import SETTINGS, Setting

FOLDER = Path(__file__).parent
SOURCES = FOLDER.parent / "sysvm"
MADE = "<!-- made by `python -m docs` -->"
ROLES = {"anyone": "anyone", "all": "users", "domain": "domain admins", "admin": "root admins"}
# Names that are put together in queries/limits.py.
PREFIXES = ("max.account.", "max.domain.", "max.project.")


def state(command: Command) -> str:
    """Whether it can be called, or what it will come with."""
    feature = catalogue.not_yet().get(command.name)
    return "works" if feature is None else f"not yet: {feature}"


def api() -> str:
    """Every command, a table for each section."""
    known = sorted(catalogue.commands().values(), key=lambda command: command.section)
    ready = len(known) - len(catalogue.not_yet())
    lines = [
        MADE,
        "# Commands",
        "",
        f"{len(known)} commands are declared, {ready} of them can be called. What differs from",
    ]
    lines += ["CloudStack is in [differences.md](differences.md). Required parameters are bold.", ""]
    for section, members in groupby(known, key=lambda command: command.section):
        lines += [f"## {section[3:]}", "", "| command | who | kind | state | parameters |", "|---|---|---|---|---|"]
        lines += [_row(command) for command in members]
        lines.append("")
    return "\n".join(lines)


def _row(command: Command) -> str:
    params = ", ".join(f"**{each.name}**" if each.required else each.name for each in command.accepts().values())
    kind = "asynchronous" if command.is_async else "synchronous"
    return f"| {command.name} | {ROLES[command.roles]} | {kind} | {state(command)} | {params} |"


@cache
def _sources() -> str:
    declared = SOURCES / "store" / "settings.py"
    return "\n".join(path.read_text() for path in sorted(SOURCES.rglob("*.py")) if path != declared)


def is_read(setting: Setting) -> bool:
    """Whether something goes by it."""
    return f'"{setting.name}"' in _sources() or setting.name.startswith(PREFIXES)


def settings_() -> str:
    """Every setting, a table for each category."""
    known = sorted(SETTINGS.values(), key=lambda setting: (setting.category, setting.name))
    used = sum(map(is_read, known))
    lines = [
        MADE,
        "# Settings",
        "",
        f"{len(known)} settings can be listed and set; {used} of them have an effect in this",
    ]
    lines += ["release. The others are kept for clients and for the features that they belong to.", ""]
    for category, members in groupby(known, key=lambda setting: setting.category):
        lines += [f"## {category}", "", "| setting | default | scope | state | meaning |", "|---|---|---|---|---|"]
        lines += [_setting_row(setting) for setting in members]
        lines.append("")
    return "\n".join(lines)


def _setting_row(setting: Setting) -> str:
    scope = ", ".join(setting.scopes) or "global"
    state = "has an effect" if is_read(setting) else "no effect yet"
    default = "" if setting.default is None else setting.default.replace("|", "\\|")
    return f"| `{setting.name}` | {default} | {scope} | {state} | {setting.about} |"


PAGES = {"api.md": api, "settings.md": settings_}


def main() -> None:
    """Writes both."""
    for name, make in PAGES.items():
        (FOLDER / name).write_text(make())


if __name__ == "__main__":
    main()
