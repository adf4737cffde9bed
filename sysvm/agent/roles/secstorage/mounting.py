"""NFS shares that this machine mounts itself: what has to be done with one, and the round that does it.

Mounts are soft, with an error of their own (`softerr`): what waits for a dead server for half a minute fails with ETIMEDOUT.
Hard mounts would keep every thread that touches the store for as long as the server is dead, and nobody could end them. What
a failed write could spoil is no image: a file gets its name after it was synced, a download goes on behind what was synced last.
What is known to be absent is asked for anew each time (`lookupcache=positive`): other machines bring images into the same store.

A mount outlives its server's restart. It is made anew when it is stale, or when the document wants it otherwise: which options it
was made with is written down beside, in memory, as the mount itself is. Races thought of: an agent that dies after mounting
and before writing that down mounts again; a mount that is taken away leaves what still has files open there to end by itself.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from sysvm.agent.command import CommandFailed, Finished, finish
from sysvm.agent.roles.secstorage.health import Mounts, mount_points
from sysvm.agent.roles.secstorage.store import write_whole
from sysvm.basics.log import get_logger
from sysvm.wire.documents import Store
from sysvm.wire.nfs import NfsShare

EVERY_S = 15.0  # between looks at stores that are as they should be
SOON_S = 3.0  # between looks while one is not
MOUNT_S = 25.0  # a server that does not answer is given up after so long, and asked again in the next round
# 10 s for an answer, then twice again with more patience: half a minute altogether.
# Apart from other mounts of the same export (nfs(5), nosharecache): taking one away by force ends what the others are asking for.
OURS = ("softerr", "timeo=100", "retrans=2", "lookupcache=positive", "nosharecache", "retry=0", "nosuid", "nodev", "noexec")
FOR_ONE = "sysvm-nfs-"  # folders of mounts that are there for one download
ABSENT = ("Protocol not supported", "No such device", "unknown filesystem", "Operation not permitted", "not installed")
log = get_logger()

Run = Callable[..., Finished]


class Step(Enum):
    """What is next."""

    MOUNT = "mount"
    UNMOUNT = "unmount"
    REST = "rest"


@dataclass(frozen=True, slots=True)
class Seen:
    """What is at a share's place."""

    mounted: bool
    told: str = ""  # how it was mounted
    stale: bool = False  # the server says that it no longer has what is mounted here


def options_of(share: NfsShare, *, read_only: bool) -> str:
    """Of `mount`. Version 3 only when it is asked for, and without locks then: nobody takes any, and they need a daemon."""
    version = () if share.value("vers") else ("vers=4",)
    old = ("nolock",) if share.value("vers") == "3" else ()
    return ",".join((*share.options, *version, *old, *OURS, "ro" if read_only else "rw"))


def how_of(store: Store) -> str:
    """How a store's share shall be mounted; empty when it shall not."""
    return f"{store.nfs.source} {options_of(store.nfs, read_only=store.read_only)}" if store.nfs is not None else ""


def step(how: str, seen: Seen) -> Step:
    """The next step towards a share that is mounted `how`."""
    if not seen.mounted:
        return Step.MOUNT if how else Step.REST
    return Step.UNMOUNT if seen.stale or seen.told != how else Step.REST


class CannotMount(CommandFailed):
    """This machine never will."""


def mount(share: NfsShare, place: Path, *, read_only: bool, run: Run = finish) -> None:
    """Raises CommandFailed, with words for the operator. By the helper itself: killed, it leaves no child behind."""
    place.mkdir(parents=True, exist_ok=True)
    words = ("mount.nfs", share.source, str(place), "-o", options_of(share, read_only=read_only))
    try:
        done = run(*words, seconds=MOUNT_S)
    except CommandFailed as error:
        raise _failed(error.why) from error
    if done.code:
        said = (done.err or done.out).strip().splitlines()
        raise _failed(said[-1].removeprefix("mount.nfs: ") if said else f"ended with {done.code}")


def _failed(said: str) -> CommandFailed:
    if any(words in said for words in ABSENT):
        why = f"this machine's kernel cannot mount NFS, or will not let a container do it ({said})"
        return CannotMount("mount.nfs", why)
    return CommandFailed("mount.nfs", said)


def take_away(place: Path) -> None:
    """Neither the mount nor its folder is left, whatever there was."""
    with contextlib.suppress(CommandFailed, OSError):
        if str(place) in mount_points():
            unmount(place)
        place.rmdir()


def sweep() -> None:
    """What an agent that died in the middle of a download had mounted goes."""
    for place in mount_points():
        if Path(place).name.startswith(FOR_ONE):
            log.info("left_mount_swept", place=place)
            take_away(Path(place))


def unmount(place: Path, run: Run = finish) -> None:
    """Nothing is mounted there afterwards, whatever the server does. Raises CommandFailed."""
    # Without helpers and without looking at the place: both would wait for a server that may be dead.
    done = run("umount", "--internal-only", "--no-canonicalize", "--force", "--lazy", str(place), seconds=MOUNT_S)
    if done.code and "not mounted" not in done.err:
        raise CommandFailed("umount", done.err.strip() or f"ended with {done.code}")


@dataclass
class Shares:
    """The shares of the document, kept mounted. `notes` is a folder in memory; `mounted` is called after each mount."""

    folder: Path
    notes: Path
    stale: Callable[[Store], Awaitable[bool]]
    mounted: Callable[[Store], Awaitable[None]]
    mounts: Mounts = mount_points
    run: Run = finish
    why: dict[str, str] = field(default_factory=dict)  # by store: why it is not mounted
    _wanted: dict[str, Store] = field(default_factory=dict)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def want(self, stores: tuple[Store, ...]) -> None:
        """From the next round on, which begins at once."""
        self._wanted = {store.store: store for store in stores if store.nfs is not None}
        self.why = {name: why for name, why in self.why.items() if name in self._wanted}
        self._news.set()

    async def round(self) -> None:
        """Everything that is not as it should be is tried once, all at the same time."""
        there = {place.name for place in self.notes.glob("*")} if self.notes.is_dir() else set()
        async with asyncio.TaskGroup() as group:
            for name in sorted(there | self._wanted.keys()):
                group.create_task(self._one(name, self._wanted.get(name)))

    async def rest(self, *, troubled: bool) -> None:
        """Until the next round is due: soon, when some store is not as it should be."""
        try:
            async with asyncio.timeout(SOON_S if troubled else EVERY_S):
                await self._news.wait()
        except TimeoutError:
            return
        self._news.clear()

    async def _one(self, name: str, store: Store | None) -> None:
        place, how = self.folder / name, how_of(store) if store is not None else ""
        try:
            if step(how, await self._seen(name, store)) is Step.UNMOUNT:
                await asyncio.to_thread(self._unmount, name, place)
                log.info("share_unmounted", store=name)
            if store is not None and step(how, await self._seen(name, store)) is Step.MOUNT:
                await asyncio.to_thread(self._mount, store, place, how)
                log.info("share_mounted", store=name, how=how)
                await self.mounted(store)
        except (CommandFailed, OSError) as error:
            why = error.why if isinstance(error, CommandFailed) else str(error)
            if self.why.get(name) != why:
                log.error("share_not_mounted", store=name, why=why)
            self.why[name] = why
        else:
            self.why.pop(name, None)

    async def _seen(self, name: str, store: Store | None) -> Seen:
        if str(self.folder / name) not in self.mounts():
            return Seen(False)
        note = self.notes / name
        told = note.read_text() if note.exists() else ""
        return Seen(True, told, store is not None and await self.stale(store))

    def _mount(self, store: Store, place: Path, how: str) -> None:
        assert store.nfs is not None
        mount(store.nfs, place, read_only=store.read_only, run=self.run)
        self.notes.mkdir(parents=True, exist_ok=True)
        write_whole(self.notes / store.store, how.encode())

    def _unmount(self, name: str, place: Path) -> None:
        unmount(place, self.run)
        (self.notes / name).unlink(missing_ok=True)
