from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import uvloop

from tests.agent_console.console_stage import Stage, stage


@pytest.fixture(scope="session")
def event_loop_policy() -> uvloop.EventLoopPolicy:
    """The agent runs on uvloop, so its tests do too."""
    return uvloop.EventLoopPolicy()


@pytest.fixture
async def proxy(tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage(tmp_path) as everything:
        yield everything
