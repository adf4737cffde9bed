"""NFS shares that a secondary storage VM mounts itself: what is next, how it is done, and that a dead server holds up nobody.

A real NFS server is in tests/boot; no kernel of a test machine need speak NFS, so what is mounted here in its place is a tmpfs.
"""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from storage_stage import stage

from sysvm.agent.command import Finished, finish
from sysvm.agent.roles.secstorage import health, mounting
from sysvm.agent.roles.secstorage.health import Look, mount_points
from sysvm.agent.roles.secstorage.looks import Looks
from sysvm.agent.roles.secstorage.mounting import Seen, Shares, Step, options_of, step
from sysvm.wire.channel import StoreSeen
from sysvm.wire.documents import Store
from sysvm.wire.nfs import parse_share

OURS = ",softerr,timeo=100,retrans=2,lookupcache=positive,nosharecache,retry=0,nosuid,nodev,noexec,"
STEPS = {
    "wanted, and not there": ("how", Seen(False), Step.MOUNT),
    "not there, though it was": ("how", Seen(False, "how"), Step.MOUNT),
    "there as wanted": ("how", Seen(True, "how"), Step.REST),
    "there otherwise": ("how", Seen(True, "else"), Step.UNMOUNT),
    "there, nobody knows how": ("how", Seen(True), Step.UNMOUNT),
    "stale": ("how", Seen(True, "how", stale=True), Step.UNMOUNT),
    "wanted no more": ("", Seen(True, "how"), Step.UNMOUNT),
    "neither wanted nor there": ("", Seen(False), Step.REST),
}
OPTIONS = {
    "nfs://s/a": "vers=4" + OURS + "rw",
    "nfs://s:2050/a?vers=4.1": "port=2050,vers=4.1" + OURS + "rw",
    "nfs://s/a?vers=3": "vers=3,nolock" + OURS + "rw",
}


@pytest.mark.parametrize("name", STEPS)
def test_the_next_step_towards_a_share(name: str):
    how, seen, wanted = STEPS[name]
    assert wanted is step(how, seen)


@pytest.mark.parametrize("url", OPTIONS)
def test_how_a_share_is_mounted(url: str):
    """Never hard, and never with set-uid programs or devices in it."""
    share = parse_share(url)
    assert OPTIONS[url] == options_of(share, read_only=False)
    assert options_of(share, read_only=True).endswith(",ro")


def a_store(url: str = "nfs://s/a", path: str = "/sysvm/store/one", **facts: bool) -> Store:
    return Store(store="one", path=path, nfs=parse_share(url), **facts)


# ---------------------------------------------------------------- rounds
class Stage:
    """Shares in a folder; `said` is what would have been run, `refusal` what the server would have said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said: list[tuple[str, ...]] = []
        self.settled: list[str] = []
        self.is_stale, self.refusal = False, ""
        self.shares = Shares(folder / "store", folder / "notes", self.stale, self.mounted, run=self.run)

    async def stale(self, store: Store) -> bool:
        return self.is_stale

    async def mounted(self, store: Store) -> None:
        self.settled.append(store.store)

    def run(self, *words: str, seconds: float) -> Finished:
        self.said.append(words)
        if words[0] != "mount.nfs":
            return finish(*words)
        if self.refusal:
            return Finished(32, "", self.refusal)
        return finish("mount", "-t", "tmpfs", "sysvm-test", words[2])

    def store(self, url: str = "nfs://s/a", **facts: bool) -> Store:
        return a_store(url, str(self.folder / "store/one"), **facts)

    async def round(self, *stores: Store) -> list[str]:
        """What was run in one."""
        self.said.clear()
        self.shares.want(stores)
        await self.shares.round()
        return [words[0] for words in self.said]


@pytest.fixture
def shares(tmp_path: Path) -> Iterator[Stage]:
    yield Stage(tmp_path)
    place = tmp_path / "store/one"
    while str(place) in mount_points():
        finish("umount", "-l", str(place))


@pytest.mark.root
async def test_a_share_is_mounted_once_and_goes_when_nobody_wants_it(shares: Stage):
    """A directory beside it is nobody's business here."""
    directory = Store(store="two", path="/elsewhere")
    assert ["mount.nfs"] == await shares.round(shares.store(), directory)
    assert ("s:/a", shares.store().path, "-o") == shares.said[0][1:4]
    assert [] == await shares.round(shares.store(), directory)
    assert ["one"] == shares.settled
    assert ["umount"] == await shares.round(directory)
    assert shares.store().path not in mount_points()
    assert [] == await shares.round()


@pytest.mark.root
async def test_a_share_that_is_stale_or_wanted_otherwise_is_mounted_anew(shares: Stage):
    """Also by another life of the agent, which knows from its note how it was mounted."""
    await shares.round(shares.store())
    assert ["umount", "mount.nfs"] == await shares.round(shares.store(read_only=True))
    again = Stage(shares.folder)
    assert [] == await again.round(shares.store(read_only=True))
    again.is_stale = True
    assert ["umount", "mount.nfs"] == await again.round(shares.store(read_only=True))


REFUSALS = {
    "mount.nfs: Connection refused": "Connection refused",
    "noise\nmount.nfs: access denied by server while mounting s:/a": "access denied by server while mounting s:/a",
    "mount.nfs: Protocol not supported": "this machine's kernel cannot mount NFS",
    "mount.nfs: Operation not permitted": "will not let a container do it",
}


@pytest.mark.parametrize("refusal", REFUSALS)
async def test_why_a_share_is_not_mounted_is_told_and_tried_again(shares: Stage, refusal: str):
    """In the words of the mount, and in more of them where these say little."""
    shares.refusal = refusal
    assert ["mount.nfs"] == await shares.round(shares.store())
    assert REFUSALS[refusal] in shares.shares.why["one"]
    fault = health.look(shares.store(), mount_points(), shares.shares.why["one"]).fault
    assert fault is not None and fault.why.startswith("nfs://s/a is not mounted: ")
    assert ["mount.nfs"] == await shares.round(shares.store())
    await shares.round()
    assert {} == shares.shares.why


@pytest.mark.root
async def test_a_refusal_is_forgotten_when_the_share_comes(shares: Stage):
    shares.refusal = "mount.nfs: Connection refused"
    await shares.round(shares.store())
    shares.refusal = ""
    await shares.round(shares.store())
    assert {} == shares.shares.why


# ---------------------------------------------------------------- a dead server
async def test_a_dead_server_holds_up_nobody_and_is_asked_by_one_thread():
    """Whoever asks is told for how long; a store beside it is looked at meanwhile; its answer is used when it comes."""
    dead, alive, asked = a_store(), Store(store="two", path="/two"), []
    back, now = threading.Event(), 0.0

    def look(store: Store) -> Look:
        asked.append(store.store)
        if store is dead:
            back.wait()
        return Look(total=7)

    looks = Looks(look, lambda: now, patience_s=0.05)
    try:
        first = await looks.at(dead)
        now = 42.0
        second = await looks.at(dead)
        assert 7 == (await looks.at(alive)).total
        assert first.fault is not None and second.fault is not None
        assert "nfs://s/a has not answered for 42 s" == second.fault.why
        assert ["one", "two"] == asked
    finally:
        back.set()
    now = -60.0  # whoever has patience gets what it brings
    assert Look(total=7) == await looks.at(dead)


async def test_a_role_with_a_share_that_cannot_be_mounted_goes_on_with_the_rest(tmp_path: Path):
    """The document is live, the directory is used, the share is named."""
    async with stage(tmp_path) as there:
        document = there.document()
        share = Store(store="one", path=str(tmp_path / "sysvm/store/one"), nfs=parse_share("nfs://127.0.0.1:1/a"))
        (fault,) = await there.role.apply(there.document(stores=(*document.stores, share)))
        assert ("store one", True) == (fault.service, fault.why.startswith("nfs://127.0.0.1/a "))
        assert await there.role.live()


# ---------------------------------------------------------------- what the server hears
NEWS = {
    "nothing was told": ((), {}, True, True),
    "the same": (({},), {}, True, False),
    "a little more in use": (({},), {"used": 19}, True, False),
    "much more in use": (({},), {"used": 21}, True, True),
    "another size": (({},), {"total": 2000}, True, True),
    "a fault": (({},), {"why": "dead"}, True, True),
    "the host is away": ((), {}, False, False),
}


@pytest.mark.parametrize("name", NEWS)
def test_the_server_hears_of_what_is_new(name: str):
    """Not of every byte."""
    before, now, up, wanted = NEWS[name]
    old = tuple(StoreSeen(store="one", total=1000, used=10) for _ in before)
    seen = StoreSeen(**{"store": "one", "total": 1000, "used": 10, **now})
    assert wanted is health.is_news(old, (seen,), up=up)


def test_for_how_long_a_server_is_silent_is_not_news():
    """Else each look would be an alert of its own."""
    first, second = (health.told(a_store(), health.hanging(a_store(), seconds)) for seconds in (4.0, 60.0))
    assert first == second
    assert "has not answered" in first.why


def test_the_helper_of_the_mount_is_run_itself():
    """Killed when it takes too long, it leaves no child behind that goes on waiting."""
    ran: list[tuple[str, ...]] = []

    def run(*words: str, seconds: float) -> Finished:
        ran.append(words)
        return Finished(0, "", "")

    mounting.mount(parse_share("nfs://[2001:db8::1]/a%20b"), Path("/tmp"), read_only=True, run=run)
    assert ("mount.nfs", "[2001:db8::1]:/a b", "/tmp", "-o") == ran[0][:4]
