"""What all tests share: examples of `hypothesis` are the same in each run, no clock of a busy machine judges them, and one
PostgreSQL serves all that need no more than a database in it."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# What helpers assert is told as tests' own is. Before anything of them is imported.
HELPERS = tuple(f"tests.{folder.name}" for folder in Path(__file__).parent.iterdir() if (folder / "__init__.py").exists())
pytest.register_assert_rewrite(*HELPERS)

from tests.store.postgres import Postgres, running_postgres  # noqa: E402

settings.register_profile("sysvm", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("sysvm")
signal.signal(signal.SIGTERM, signal.default_int_handler)  # a run that is told to end removes what it has made


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The server; `with postgres.database() as url` gives a database with all tables."""
    with running_postgres() as made:
        yield made
