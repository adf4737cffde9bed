"""The stories of the simulation with all rows in a real PostgreSQL: the same SQL, the same ends."""

import pytest

from tests.simulation.cloud import Cloud
from tests.simulation.faults import Counter, Crash, mortal_server
from tests.simulation.life import live
from tests.simulation.loop import run
from tests.simulation.postgres import InlinePostgres
from tests.simulation.test_seeded_stories import storm
from tests.store.postgres import Postgres

DEATHS = 3


class Deadly(Counter):
    """Kills each server at its `at`th fault point."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at

    async def __call__(self, name: str) -> None:
        await super().__call__(name)
        if len(self.passed) == self.at:
            raise Crash(name)


def tell(postgres: Postgres, hook: Counter) -> int:
    """A router's life; how many fault points it has, and how often its server died."""
    with postgres.database() as url:
        cloud = Cloud(store=lambda clock: InlinePostgres(url, clock, connections=1))

        async def main() -> int:
            async with cloud.world(), mortal_server(cloud, hook) as mortal:
                await live(cloud)
                return mortal.deaths

        try:
            return run(cloud.clock, main())
        finally:
            cloud.store.engine.dispose()


def test_a_routers_life(postgres: Postgres):
    """Without faults, and with a server that dies at one fault point in so many, over the whole life."""
    counter = Counter()
    assert 0 == tell(postgres, counter)
    many = len(counter.passed)
    assert many > 100
    assert [1] * DEATHS == [tell(postgres, Deadly(1 + many * number // DEATHS)) for number in range(DEATHS)]


@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_happens_all_is_well_there_too(postgres: Postgres, seed: int):
    """A seeded story with two or three servers."""
    with postgres.database() as url:
        storm(seed, Cloud(seed_number=seed, store=lambda clock: InlinePostgres(url, clock, connections=1)))
