"""A fresh cloud for each test, and one with a whole zone: built once by the API, then cloned."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from sysvm.store.store import SqliteStore
from tests.api.stage import Stage
from tests.api_infrastructure.cloud import Cloud
from tests.store.copies import contents

_built: list[tuple[bytes, Cloud]] = []


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """An empty cloud behind the API."""
    made = await Stage.make()
    yield made
    await made.close()


async def built() -> tuple[bytes, Cloud]:
    """The database of a cloud with one zone, built as clients build it, and what is in it."""
    if not _built:
        stage = await Stage.make()
        cloud = await Cloud.build(stage)
        assert isinstance(stage.store, SqliteStore)
        _built.append((contents(stage.store), cloud))
        await stage.close()
    return _built[0]


@pytest.fixture
async def cloud() -> AsyncIterator[Cloud]:
    """A cloud with one zone."""
    database, original = await built()
    yield (made := replace(original, stage=original.stage.copy(database)))
    await made.stage.close()
