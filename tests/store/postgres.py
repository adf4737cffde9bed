"""A PostgreSQL of our own: from Debian's binaries, on a loopback port, in a temporary folder, gone at the end.

Durability is switched off: nothing here outlives the tests. Each test gets a database of its own, cloned from a template
in which all migrations have been done once.
"""

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg

from sysvm.basics.clock import SystemClock
from sysvm.store import schema
from sysvm.store.store import PostgresStore

TEMPLATE = "sysvm_template"
SAFE = ("fsync=off", "full_page_writes=off", "max_connections=60", "shared_buffers=32MB")  # outlives its own crash
QUICK = (*SAFE, "synchronous_commit=off")
PATIENCE_S = 60.0


class Postgres:
    """A running PostgreSQL server."""

    def __init__(self, folder: Path, options: Sequence[str] = QUICK) -> None:
        self._folder = folder
        self._options = options
        self._numbers = itertools.count(1)
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._call("initdb", "-D", str(folder / "data"), "-U", "sysvm", "-A", "trust", "--no-sync", "-E", "UTF8")

    def start(self) -> None:
        """It answers afterwards."""
        options = [word for option in self._options for word in ("-c", option)]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [_binary("postgres"), "-D", str(self._folder / "data"), "-p", str(self.port), "-h", "127.0.0.1",
                 "-k", str(self._folder), *options],
                stdout=log, stderr=log, **_unprivileged(),
            )  # fmt: skip
        self._until_it_answers()

    @property
    def is_running(self) -> bool:
        """Whether it was started and not stopped."""
        return self._process is not None

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT: connections are cut; SIGQUIT: as if it had crashed."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait()
            self._process = None

    def url(self, database: str) -> str:
        """Where a database is."""
        return f"postgresql://sysvm@127.0.0.1:{self.port}/{database}"

    def make_template(self) -> None:
        """All migrations, once."""
        self.execute(f"create database {TEMPLATE}")
        store = PostgresStore(self.url(TEMPLATE), SystemClock())
        schema.upgrade(store)
        store.engine.dispose()

    @contextlib.contextmanager
    def database(self) -> Iterator[str]:
        """The URL of a new one with all tables, dropped at the end."""
        name = f"test_{next(self._numbers)}"
        self.execute(f"create database {name} template {TEMPLATE}")
        try:
            yield self.url(name)
        finally:
            self.execute(f"drop database if exists {name} with (force)")

    def ask(self, database: str, statement: str) -> list[tuple[Any, ...]]:
        """The rows of one SELECT."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            return connection.execute(statement).fetchall()  # type: ignore[call-overload]

    def execute(self, statement: str) -> None:
        """One statement, outside of any transaction."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement)  # type: ignore[call-overload]

    def _until_it_answers(self) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                psycopg.connect(self.url("postgres"), connect_timeout=5).close()
                return
            except psycopg.OperationalError:
                assert self._process is not None
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError((self._folder / "log").read_text()) from None
                time.sleep(0.05)

    def _call(self, name: str, *arguments: str) -> None:
        done = subprocess.run([_binary(name), *arguments], capture_output=True, text=True, **_unprivileged())
        assert done.returncode == 0, done.stderr


@contextlib.contextmanager
def running_postgres(options: Sequence[str] = QUICK) -> Iterator[Postgres]:
    """A server with the template in it."""
    folder = Path(tempfile.mkdtemp(prefix="sysvm-postgres-"))
    try:
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(folder, user.pw_uid, user.pw_gid)
        made = Postgres(folder, options)
        try:
            made.start()
            made.make_template()
            yield made
        finally:
            made.stop(signal.SIGQUIT)
    finally:
        shutil.rmtree(folder)


def _binary(name: str) -> str:
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    assert found, "PostgreSQL is missing: apt install postgresql (packages/test.txt)"
    return str(found[-1])


def _unprivileged() -> dict[str, object]:
    """PostgreSQL refuses to run as root."""
    return {"user": "postgres", "group": "postgres", "extra_groups": [], "cwd": "/"} if os.geteuid() == 0 else {}


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
