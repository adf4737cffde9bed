"""A fresh cloud for each test, at the instant that the certificates are made for."""

from collections.abc import AsyncIterator

import pytest

from tests.api.stage import Stage


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """An empty cloud behind the API."""
    made = await Stage.make()
    yield made
    await made.close()
