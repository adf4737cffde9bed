"""A cloud with one zone for each test: built once by the API, then cloned."""

import copy
import sqlite3
from collections.abc import AsyncIterator
from typing import Any

import pytest

from sysvm.api.app import make_apps
from sysvm.api.passwords import Passwords
from sysvm.basics.clock import VirtualClock
from sysvm.store.secrets import Vault
from sysvm.store.store import SqliteStore
from tests.api.stage import CHEAP, Asker, Stage
from tests.api_networks.land import Land

_built: list[tuple[bytes, Land]] = []


def driver(store: SqliteStore) -> sqlite3.Connection:
    """The database itself."""
    connection = store._writing.connection.driver_connection
    assert isinstance(connection, sqlite3.Connection)
    return connection


async def built() -> tuple[bytes, Land]:
    """The database of a zone where guests can be deployed, and what is in it."""
    if not _built:
        stage = await Stage.make()
        land = await Land.settle(stage)
        _built.append((driver(stage.store).serialize(), land))
        await stage.close()
    return _built[0]


@pytest.fixture
async def land() -> AsyncIterator[Land]:
    """A zone where guests can be deployed."""
    database, original = await built()
    clock, ids, vault = VirtualClock(), copy.deepcopy(original.stage.ids), Vault(b"k" * 32)
    store = SqliteStore(None, clock, inline=True)
    driver(store).deserialize(database)
    passwords = Passwords(**CHEAP)
    apps = make_apps(store, ids, vault, passwords)
    known = original.admin
    admin = Asker(apps.main, known.key, known.secret, known.user_id, known.account, known.domain_id)
    stage = Stage(store, clock, ids, vault, passwords, apps, admin)
    cloud = copy.copy(original.cloud)
    cloud.stage = stage
    yield Land(cloud, original.offering, original.template)
    await stage.close()


@pytest.fixture
async def network(land: Land) -> dict[str, Any]:
    """An implemented network."""
    made = await land.network()
    return await land.implemented(made["id"])
