"""What looks after the tables, and the wishes of turns, in PostgreSQL: each statement is understood there, too."""

from sysvm.basics.clock import SystemClock
from sysvm.orchestrator import expiry, upkeep
from sysvm.store.queries import turns
from sysvm.store.store import PostgresStore
from tests.api.stage import Stage
from tests.store.postgres import Postgres


async def test_every_round_of_upkeep_runs_in_postgres(postgres: Postgres):
    """And a wish keeps the host that an earlier one named."""
    with postgres.database() as url:
        store = PostgresStore(url, SystemClock(), connections=2)
        stage = await Stage.make(store)
        try:
            await stage.admin("updateConfiguration", name="alert.purge.delay", value=1)
            await store.run(upkeep.sweep)
            await store.run(expiry.sweep)
            await store.run(lambda tx: turns.wish(tx, "host", 7, host=7))
            await store.run(lambda tx: turns.wish(tx, "host", 7))
            assert [(7,)] == await store.read(lambda tx: tx.sql("select host from turn where kind = 'host' and id = 7"))
            assert await store.read(lambda tx: turns.next_due(tx, "nobody")) is None
        finally:
            await stage.close()
