"""A fresh cloud for each test."""

from collections.abc import AsyncIterator

import pytest

from tests.api.stage import Stage


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """An empty cloud behind the API."""
    made = await Stage.make()
    yield made
    await made.close()
