"""`python -m sysvm.images build | check | list | agent | guest`: the images without the rest of the program.

Prints what it does with the seconds since its start, and the result as its last line. `check` ends with 1 when a build
would make something new or a file is damaged.
"""

import sys
from collections.abc import Callable

from sysvm.basics.clock import SystemClock
from sysvm.basics.errors import Refused
from sysvm.images import agent_layer, build, build_guest, cache_folder, check, list_templates

_clock = SystemClock()
_start = _clock.now()


def _say(text: str) -> None:
    print(f"{_clock.now() - _start:6.1f}  {text}", flush=True)


def _build() -> int:
    print(build(cache_folder(), _say).folder)
    return 0


def _check() -> int:
    report = check(cache_folder(), _say)
    for change in report.newer:
        print(change)
    for name in report.damaged:
        print(f"{name}: its SHA-256 is not the one of the manifest")
    if report.recipe_changed:
        print("the recipe has changed since")
    print(f"template {report.template.version} is {'current' if report.current else 'not current: build the next one'}")
    return 0 if report.current else 1


def _list() -> int:
    for template in list_templates(cache_folder()):
        manifest = template.manifest
        print(f"{manifest.version}  kernel {manifest.kernel}  {len(manifest.packages)} packages  built {manifest.built}")
    return 0


def _agent() -> int:
    print(agent_layer(cache_folder(), _say).folder)
    return 0


def _guest() -> int:
    print(build_guest(cache_folder(), _say).folder)
    return 0


COMMANDS: dict[str, Callable[[], int]] = {
    "build": _build,
    "check": _check,
    "list": _list,
    "agent": _agent,
    "guest": _guest,
}


def main(words: list[str]) -> int:
    """Runs one command; 2 for a word that is none."""
    if len(words) != 1 or words[0] not in COMMANDS:
        print(f"usage: python -m sysvm.images {' | '.join(COMMANDS)}", file=sys.stderr)
        return 2
    try:
        return COMMANDS[words[0]]()
    except Refused as refusal:
        print(refusal.text, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
