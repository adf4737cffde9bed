"""A cloud with one zone for each test: built once by the API, then cloned."""

import copy
from collections.abc import AsyncIterator
from typing import Any

import pytest

from sysvm.store.store import SqliteStore
from tests.api.stage import Stage
from tests.api_networks.land import Land
from tests.store.copies import contents

_built: list[tuple[bytes, Land]] = []


async def built() -> tuple[bytes, Land]:
    """The database of a zone where guests can be deployed, and what is in it."""
    if not _built:
        stage = await Stage.make()
        land = await Land.settle(stage)
        assert isinstance(stage.store, SqliteStore)
        _built.append((contents(stage.store), land))
        await stage.close()
    return _built[0]


@pytest.fixture
async def land() -> AsyncIterator[Land]:
    """A zone where guests can be deployed."""
    database, original = await built()
    cloud = copy.copy(original.cloud)
    cloud.stage = original.stage.copy(database)
    yield Land(cloud, original.offering, original.template)
    await cloud.stage.close()


@pytest.fixture
async def network(land: Land) -> dict[str, Any]:
    """An implemented network."""
    made = await land.network()
    return await land.implemented(made["id"])
