"""A fresh cloud for each test, and one with a whole zone."""

from collections.abc import AsyncIterator

import pytest

from tests.api.stage import Stage
from tests.api_infrastructure.cloud import Cloud


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """An empty cloud behind the API."""
    made = await Stage.make()
    yield made
    await made.close()


@pytest.fixture
async def cloud(stage: Stage) -> Cloud:
    """A cloud with one zone, built as clients build it."""
    return await Cloud.build(stage)
