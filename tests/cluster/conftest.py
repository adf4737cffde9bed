"""Two servers on one PostgreSQL, with a zone: made once for all stories of a module, whole again after each."""

from collections.abc import Iterator

import pytest

from tests.boot.patience import NotYet, until
from tests.cluster.ground import Ground, build
from tests.cluster.hosts import hosts_in
from tests.cluster.servers import Server, answered
from tests.store.postgres import SAFE, TEMPLATE, Postgres, running_postgres


@pytest.fixture(scope="module")
def database() -> Iterator[Postgres]:
    """A PostgreSQL that keeps what it has committed when it is stopped hard."""
    with running_postgres(SAFE) as made:
        yield made


@pytest.fixture(scope="module")
def cluster(database: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """The zone and both servers."""
    folder = tmp_path_factory.mktemp("cluster")
    database.execute(f"create database cloud template {TEMPLATE}")
    one, two = (Server(folder / name, database.url("cloud")) for name in ("one", "two"))
    with hosts_in(folder) as hosts:
        try:
            one.start()
            (two.state / "secret.key").write_bytes((one.state / "secret.key").read_bytes())
            two.start()
            yield build([one, two], hosts, folder)
            assert [] == one.bugs() + two.bugs()
        finally:
            one.kill()
            two.kill()


@pytest.fixture
def ground(cluster: Ground, database: Postgres) -> Iterator[Ground]:
    """Both servers answer, and each host has a link to one of them."""
    for server in cluster.servers:
        until(lambda asked=server: _is_whole(cluster, asked), "both servers", cluster.hosts.moved)  # type: ignore[misc]
    yield cluster
    if not database.is_running:
        database.start()
    for server in cluster.servers:
        if server.lives():
            server.go_on()
        else:
            server.kill()
            server.start()


def _is_whole(ground: Ground, server: Server) -> bool:
    """Raises NotYet."""
    hosts = answered(ground.client(server), "listHosts", type="Routing")["host"]
    states = {row["state"] for row in hosts}  # type: ignore[attr-defined]
    if states != {"Up"} or not all(row.get("managementserverid") for row in hosts):  # type: ignore[attr-defined]
        raise NotYet(f"hosts are {states}")
    return True
