"""`python -m bench [GROUP ...] [--tiny]`: runs the groups, writes bench/results.json and the table of README.md.

With groups named, only their rows are measured anew; the others keep what they were. `--tiny` writes nothing.
"""

import sys
import time

from bench import groups, rows, table


def main(words: list[str]) -> int:
    """0 when every benchmark could be done."""
    tiny = "--tiny" in words
    named = [word for word in words if not word.startswith("-")] or list(groups.GROUPS)
    found: dict[str, list[rows.Row]] = {}
    for name in named:
        began = time.monotonic()
        print(f"{name} ...", flush=True)
        found[name] = groups.run(name, tiny=tiny)
        for one in found[name]:
            print(f"  {table.line_of(one)}")
        print(f"  ({time.monotonic() - began:.0f} s)", flush=True)
    measured = [one for some in found.values() for one in some]
    if not tiny:
        _keep(measured)
    return 1 if any(one.value is None for one in measured) else 0


def _keep(measured: list[rows.Row]) -> None:
    old = {one.name: one for one in rows.read()} if rows.RESULTS.exists() else {}
    new = {one.name: one for one in measured}
    order = [name for group in groups.GROUPS for name in groups.load(group).NAMES]
    everything = {**old, **new}
    rows.write([everything[name] for name in order if name in everything])
    table.write_readme()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
