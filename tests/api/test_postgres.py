"""The same cloud in PostgreSQL: what tests of SQLite show holds there, too."""

import inspect
from collections.abc import AsyncIterator

import pytest

from sysvm.basics.clock import SystemClock
from sysvm.store.store import PostgresStore
from tests.api import test_accounts, test_envelopes, test_lists, test_roles
from tests.api.stage import Stage
from tests.store.postgres import Postgres

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


@pytest.fixture
async def in_postgres(postgres: Postgres) -> AsyncIterator[Stage]:
    """An empty cloud."""
    with postgres.database() as url:
        stage = await Stage.make(PostgresStore(url, SystemClock(), connections=2))
        yield stage
        await stage.close()


@pytest.mark.parametrize("sentence", _sentences().items(), ids=lambda item: item[0])
async def test_in_postgres(in_postgres: Stage, sentence: tuple[str, object]):
    """Word for word."""
    _, test = sentence
    await test(in_postgres)  # type: ignore[operator]
