"""The same cloud in PostgreSQL: what tests of SQLite show holds there, too."""

import inspect
from collections.abc import AsyncIterator, Iterator

import pytest

from sysvm.basics.clock import SystemClock
from sysvm.store.store import PostgresStore
from tests.api import test_accounts, test_envelopes, test_lists, test_roles
from tests.api.postgres import private_postgres
from tests.api.stage import Stage

# Those that look into SQLite's file are about SQLite, and those whose name is about time stand on the virtual clock.
ONLY_SQLITE = {"test_hidden_values_are_sealed_and_never_shown", "test_post_and_expiry_can_be_enforced"}


def _sentences() -> dict[str, object]:
    """Tests that need nothing but a cloud."""
    found = {}
    for module in (test_accounts, test_envelopes, test_lists, test_roles):
        for name, test in vars(module).items():
            alone = name.startswith("test_") and list(inspect.signature(test).parameters) == ["stage"]
            if alone and name not in ONLY_SQLITE and inspect.iscoroutinefunction(test):
                found[name] = test
    return found


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """One server for all of these."""
    with private_postgres() as found:
        yield found


@pytest.fixture
async def in_postgres(url: str) -> AsyncIterator[Stage]:
    """An empty cloud."""
    store = PostgresStore(url, SystemClock(), connections=2)
    with store.engine.begin() as connection:
        connection.exec_driver_sql("drop schema public cascade")
        connection.exec_driver_sql("create schema public")
    stage = await Stage.make(store)
    yield stage
    await stage.close()


@pytest.mark.parametrize("sentence", _sentences().items(), ids=lambda item: item[0])
async def test_in_postgres(in_postgres: Stage, sentence: tuple[str, object]):
    """Word for word."""
    _, test = sentence
    await test(in_postgres)  # type: ignore[operator]
