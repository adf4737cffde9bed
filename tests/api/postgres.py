"""A PostgreSQL of our own: in a folder, on a unix socket only, gone afterwards."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


@contextmanager
def private_postgres() -> Iterator[str]:
    """The URL of a server that lives as long as the block, in a folder of its own (a socket's path must be short)."""
    with tempfile.TemporaryDirectory(prefix="sysvm-pg-", ignore_cleanup_errors=True) as folder:
        yield from _served(Path(folder))


def _served(folder: Path) -> Iterator[str]:
    assert PROGRAMS, "PostgreSQL is not installed: apt-get install postgresql"
    programs, data = PROGRAMS[-1], folder / "data"
    as_root = os.geteuid() == 0
    if as_root:
        shutil.chown(folder, "postgres")

    def run(*words: str) -> None:
        before = ("runuser", "-u", "postgres", "--") if as_root else ()
        subprocess.run((*before, *words), check=True, stdout=subprocess.DEVNULL, cwd="/")

    run(str(programs / "initdb"), "-D", str(data), "-A", "trust", "-U", "postgres")
    options = f"-k {folder} -c listen_addresses='' -c fsync=off"
    run(str(programs / "pg_ctl"), "-D", str(data), "-o", options, "-l", str(folder / "log"), "-w", "start")
    try:
        yield f"postgresql:///postgres?host={folder}&user=postgres"
    finally:
        run(str(programs / "pg_ctl"), "-D", str(data), "-m", "immediate", "stop")
