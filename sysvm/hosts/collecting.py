"""Old templates and agent layers in the cache of a machine: collected when no host on the machine refers to them any more.

The cache is shared by all hosts of a machine (clones of this project side by side), so each writes down where its state is:

    <cache>/hosts/<hash8>.json    its state folder, and the template that it has told its server to be the newest

and whoever collects reads what each of them refers to, at that instant, under the lock of claims (images/claims.py): templates
in specs, the agent that was chosen. Agents below running containers are seen by the files in their roots, so those of releases
that wrote nothing down count, too. The newest of each kind stays, as does what was claimed or made within GRACE_S, and
templates that were registered, which are the server's to remove.

Killed at any instruction: what is collected is renamed first, and the next round removes what was renamed. A host whose state
folder is gone refers to nothing.
"""

import asyncio
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from sysvm.basics.clock import Clock
from sysvm.basics.log import get_logger
from sysvm.hosts import facts
from sysvm.hosts.layout import RUN, Layout
from sysvm.hosts.lxc.driver import read_spec
from sysvm.hosts.system.durable import write_durably
from sysvm.images import claims
from sysvm.images.claims import AGENTS, TEMPLATES
from sysvm.images.export import ORIGIN

GRACE_S = 3 * 24 * 3600.0
EVERY_S = 3600.0
_TELLS_AGENTS_APART = "usr/lib/sysvm/python/sysvm/__init__.py"  # a file of its own in each layer
log = get_logger()


@dataclass(frozen=True, slots=True)
class Thing:
    """A template or an agent layer in the cache."""

    kind: str
    name: str
    made: float
    claimed: float = 0.0
    registered: bool = False


class Entry(msgspec.Struct, frozen=True):
    """What a host has written down."""

    state: str
    template: str = ""


# ---------------------------------------------------------------- the decision, pure
def unneeded(things: Iterable[Thing], used: frozenset[tuple[str, str]], now: float) -> tuple[Thing, ...]:
    """What may go; `used`: kind and name of what some host refers to."""
    there = tuple(things)
    newest = {
        max((one for one in there if one.kind == kind and not one.registered), key=lambda one: one.made, default=None)
        for kind in (TEMPLATES, AGENTS)
    }
    return tuple(
        one
        for one in there
        if one not in newest
        and not one.registered
        and (one.kind, one.name) not in used
        and max(one.made, one.claimed) + GRACE_S <= now
    )


# ---------------------------------------------------------------- hosts
def write_down(layout: Layout) -> None:
    """This host counts, with what it tells its server now."""
    built = facts.templates(layout)
    entry = Entry(str(layout.state), built[-1] if built and claims.claim(layout.cache, TEMPLATES, built[-1]) else "")
    write_durably(_entries(layout.cache) / f"{layout.hash8}.json", msgspec.json.encode(entry))


def used_by_hosts(cache: Path) -> frozenset[tuple[str, str]]:
    """What all hosts of this machine refer to."""
    found: set[tuple[str, str]] = set(_below_containers(cache))
    for file in _entries(cache).glob("*.json"):
        entry = msgspec.json.decode(file.read_bytes(), type=Entry)
        layout = Layout(Path(entry.state))
        if not layout.host.is_dir():
            file.unlink(missing_ok=True)
            continue
        found |= {(TEMPLATES, entry.template), *_used_by(layout)}
    return frozenset(found)


def _used_by(layout: Layout) -> Iterator[tuple[str, str]]:
    choice = layout.host / "agent"
    if choice.exists():
        yield AGENTS, choice.read_text()
    for spec in layout.machines.glob("*/*/spec.json"):
        made = read_spec(layout, spec.parent.parent.name, int(spec.parent.name))
        if made is not None and made.template:
            yield TEMPLATES, made.template


def _below_containers(cache: Path) -> Iterator[tuple[str, str]]:
    roots = {_number(root) for root in RUN.glob("*/stage/*/root")}
    for layer in (cache / AGENTS).glob("[!.]*/root"):
        if (number := _number(layer)) is not None and number in roots:
            yield AGENTS, layer.parent.name


def _number(root: Path) -> int | None:
    """An overlay shows the number of the file below it."""
    try:
        return (root / _TELLS_AGENTS_APART).lstat().st_ino
    except (OSError, ValueError):
        return None


def _entries(cache: Path) -> Path:
    return cache / "hosts"


# ---------------------------------------------------------------- the act
def things_in(cache: Path) -> tuple[Thing, ...]:
    """What is whole in the cache."""
    folders = [(kind, root.parent) for kind in (TEMPLATES, AGENTS) for root in (cache / kind).glob("[!.]*/root")]
    return tuple(
        Thing(
            kind,
            folder.name,
            folder.stat().st_mtime,
            claims.last_claim(cache, kind, folder.name),
            (folder / ORIGIN).exists(),
        )
        for kind, folder in folders
    )


def collect(cache: Path, now: float) -> tuple[str, ...]:
    """Removes what is not needed; the names of it. Nothing while somebody claims."""
    for left in [path for kind in (TEMPLATES, AGENTS) for path in (cache / kind).glob(".gone-*")]:
        shutil.rmtree(left, ignore_errors=True)
    gone = []
    try:
        with claims.nobody_claims(cache):
            used = used_by_hosts(cache)
            for one in unneeded(things_in(cache), used, now):
                place = cache / one.kind / one.name
                gone.append(place.rename(place.with_name(f".gone-{one.name}")))
                claims.forget(cache, one.kind, one.name)
            for kind, name in used:
                if name and (cache / kind / name).is_dir():
                    claims.renew(cache, kind, name)  # grace begins when the last use ends
    except BlockingIOError:
        return ()
    for place in gone:
        shutil.rmtree(place, ignore_errors=True)
    return tuple(place.name.removeprefix(".gone-") for place in gone)


async def keep_collecting(layout: Layout, clock: Clock) -> None:
    """Once an hour, for ever."""
    while True:
        try:
            gone = await asyncio.to_thread(collect, layout.cache, clock.now())
            if gone:
                log.info("cache_collected", names=gone)
        except OSError as error:
            log.warning("cache_not_collected", why=str(error))
        await clock.sleep(EVERY_S)
