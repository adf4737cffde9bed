"""A PostgreSQL of our own for a benchmark: in a temporary folder, on a unix socket only, gone afterwards."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.groups import Missing

ACCOUNT = "postgres"
PORT = 5432  # names the socket; nothing listens on a network


def programs() -> Path:
    """Where initdb and pg_ctl are."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        raise Missing("PostgreSQL is not installed")
    return found[-1].parent


@contextmanager
def running() -> Iterator[tuple[str, int]]:
    """Its URL, and the process id of its postmaster."""
    bin_ = programs()
    folder = Path(tempfile.mkdtemp(prefix="sysvm-bench-pg-"))
    try:
        _own(folder)
        _as_owner([bin_ / "initdb", "-D", folder / "data", "-A", "trust", "-U", ACCOUNT, "--no-sync"])
        options = f"-k {folder} -p {PORT} -c listen_addresses='' -c max_connections=50 -c shared_buffers=128MB"
        control = [bin_ / "pg_ctl", "-D", folder / "data", "-s", "-w"]
        _as_owner([*control, "-l", folder / "log", "-o", options, "start"])
        try:
            pid = int((folder / "data" / "postmaster.pid").read_text().splitlines()[0])
            yield f"postgresql://{ACCOUNT}@/postgres?host={folder}&port={PORT}", pid
        finally:
            _as_owner([*control, "-m", "immediate", "stop"])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def family_cpu_s(postmaster: int) -> float:
    """Seconds of CPU of the postmaster's living backends and of those that have ended."""
    total = 0.0
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = place.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == postmaster or int(place.parent.name) == postmaster:
            used = fields[11:15] if int(place.parent.name) == postmaster else fields[11:13]
            total += sum(map(int, used)) / os.sysconf("SC_CLK_TCK")
    return total


def _own(folder: Path) -> None:
    if os.geteuid() == 0:
        who = pwd.getpwnam(ACCOUNT)
        os.chown(folder, who.pw_uid, who.pw_gid)


def _as_owner(words: list[object]) -> None:
    """initdb and postgres refuse to run as root."""
    before = ["runuser", "-u", ACCOUNT, "--"] if os.geteuid() == 0 else []
    command = [*before, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", stdin=subprocess.DEVNULL)
    if done.returncode:
        raise Missing(f"PostgreSQL did not start: {done.stderr.strip() or done.stdout.strip()}")
