from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import uvloop
from storage_stage import Stage, stage


@pytest.fixture(scope="session")
def event_loop_policy() -> uvloop.EventLoopPolicy:
    """The agent runs on uvloop, so its tests do too."""
    return uvloop.EventLoopPolicy()


@pytest.fixture
async def ssvm(tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage(tmp_path) as everything:
        assert await everything.role.apply(everything.document()) == ()
        yield everything
