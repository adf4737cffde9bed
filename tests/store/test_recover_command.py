"""`sysvm recover`: a new epoch for the database in a state folder, with the server stopped."""

import functools
import os
from pathlib import Path

import pytest

from sysvm.basics.clock import SystemClock
from sysvm.basics.errors import Refused
from sysvm.basics.ids import SystemIds
from sysvm.cli import recover
from sysvm.store import schema, seed
from sysvm.store.secrets import open_vault
from sysvm.store.store import SqliteStore, lock_state_folder


async def made(place: Path, *, sown: bool) -> Path:
    """The state folder of a server that has run once, or of one that ended before it had made its cloud."""
    store = SqliteStore(place / "sysvm.db", SystemClock())
    await schema.ensure(store)
    vault = open_vault(place)
    if sown:
        sow = functools.partial(seed.sow, ids=SystemIds(), version="t", admin_password_hash=seed.LOCKED)
        await store.run(lambda tx: sow(tx, vault=vault))
    await store.close()
    return place


@pytest.fixture
async def state(tmp_path: Path) -> Path:
    """Of a server that has run once."""
    return await made(tmp_path, sown=True)


@pytest.fixture
async def no_cloud(tmp_path: Path) -> Path:
    """Of a server that ended too early."""
    return await made(tmp_path, sown=False)


def test_each_call_begins_another_epoch(state: Path):
    first = recover.run(state)
    assert first + 1 == recover.run(state)


def test_a_server_that_runs_keeps_its_epoch(state: Path):
    before = recover.run(state)
    lock = lock_state_folder(state)
    try:
        with pytest.raises(Refused, match=r"a server runs on .*; stop it first"):
            recover.run(state)
    finally:
        os.close(lock)
    assert before + 1 == recover.run(state)


def test_where_there_is_no_database_none_is_made(tmp_path: Path):
    with pytest.raises(Refused, match="there is no database in"):
        recover.run(tmp_path)
    assert [] == list(tmp_path.iterdir())


def test_a_database_without_a_cloud_is_not_recovered(no_cloud: Path):
    with pytest.raises(Refused, match="the database is empty"):
        recover.run(no_cloud)
