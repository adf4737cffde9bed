"""The one server of a small cloud, on its SQLite file."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.ground import Ground, build
from tests.cluster.hosts import hosts_in
from tests.cluster.servers import Server


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    """A zone with one server."""
    server = Server(tmp_path / "server")
    with hosts_in(tmp_path) as hosts:
        try:
            server.start()
            yield build([server], hosts, tmp_path)
            assert [] == server.bugs()
        finally:
            server.kill()


def test_a_server_that_is_killed_under_thirty_jobs_brings_all_to_their_end_when_it_is_back(ground: Ground):
    """Accepted is accepted: each guest runs, once; and the same keys are good at the new process."""
    (server,) = ground.servers
    client = ground.client(server)
    jobs = ground.deploy(client, 30)
    assert len(ground.unfinished(client, jobs)) > 10
    server.kill()
    server.start()
    ground.all_end(client, jobs)
    ground.nothing_is_doubled(client, jobs)
    ground.fences_rose()
    assert 0 == server.end()
