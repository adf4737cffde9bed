"""A fresh cloud with one zone for each test."""

from collections.abc import AsyncIterator

import pytest

from tests.api.stage import Stage
from tests.api_networks.land import Land


@pytest.fixture
async def land() -> AsyncIterator[Land]:
    """A zone where guests can be deployed."""
    stage = await Stage.make()
    yield await Land.settle(stage)
    await stage.close()
