import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import uvloop
from s3_server import Server, served
from storage_stage import Stage, stage

from sysvm.agent.roles.secstorage.store import ImageStore


@pytest.fixture(scope="session")
def event_loop_policy() -> uvloop.EventLoopPolicy:
    """The agent runs on uvloop, so its tests do too."""
    return uvloop.EventLoopPolicy()


@pytest.fixture(autouse=True)
def asked_by_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store whose server is dead takes half a minute to say so: nobody asks it where everybody else would wait, too."""
    free = ImageStore.free

    def asked(store: ImageStore) -> int:
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        return free(store)

    monkeypatch.setattr(ImageStore, "free", asked)


@pytest.fixture
async def ssvm(tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage(tmp_path) as everything:
        assert await everything.role.apply(everything.document()) == ()
        yield everything


@pytest.fixture(scope="package")
def moto() -> Iterator[Server]:
    """An emulator, for all tests of this folder."""
    with served("moto") as running:
        yield running


@pytest.fixture(scope="package")
def swift() -> Iterator[Server]:
    """A real one."""
    with served("swift") as running:
        yield running


@pytest.fixture(params=["swift", "moto"])
def server(request: pytest.FixtureRequest) -> Server:
    """Each of the two."""
    made: Server = request.getfixturevalue(request.param)
    return made
