"""The secondary storage VM's downloads, against programs that do the same; and how its fleet shares commands.

Source and peers are on loopback, everything is written to memory (/dev/shm) or not at all, so that what is measured is the CPU's
way of the bytes and not a disk. All use one server: Apache, which sends files by sendfile.

    download.vs_curl             MB/s with SHA-256 in the store, against `curl | sha256sum`, which keeps nothing
    download.vs_aria2c           the same against aria2c, which writes and hashes nothing
    download.resume_reread_bytes what a killed worker's successor asks for again, of what was in the file
    download.resume_s            from the kill to the successor's first request
    copy.bytes_ratio             what travels of a template's next version to the second zone, of its size
    ssvm.scale                   largest distance of a machine's weighted load from an even share, in percent, on the simulator
"""

import contextlib
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.measure import median
from bench.rows import Row, failed, row

NAMES = ("download.vs_curl", "download.vs_aria2c", "download.resume_reread_bytes", "download.resume_s",
         "copy.bytes_ratio", "ssvm.scale")  # fmt: skip
DEADLINE_S = 1500.0  # a hundred workers are killed
NEEDS = ("curl", "apache2", "mke2fs", "qemu-img")
MB = 1 << 20
MEMORY = "/dev/shm"
WORKER = Path(__file__).parents[1] / "tests/agent_storage/storage_worker.py"
APACHE = """\
ServerName localhost
ServerRoot {folder}
PidFile {folder}/pid
Listen 127.0.0.1:{port}
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
User nobody
Group nogroup
DocumentRoot {folder}/www
ErrorLog {folder}/errors
LogFormat "%{{msec_frac}}t %{{sec}}t %>s %{{Range}}i" ranges
CustomLog {folder}/requests ranges
"""


def run(*, tiny: bool) -> Iterator[Row]:
    """All rows."""
    with tempfile.TemporaryDirectory(prefix="sysvm-bench-", dir=MEMORY) as name, _served(Path(name)) as url:
        folder = Path(name)
        _fill(folder / "www/a", (64 if tiny else 2048) * MB)
        yield from _speed(folder, f"{url}/a", rounds=1 if tiny else 3)
        _fill(folder / "www/b", (40 if tiny else 200) * MB)
        yield from _resume(folder, f"{url}/b", times=2 if tiny else 100)
    with tempfile.TemporaryDirectory(prefix="sysvm-bench-", dir=MEMORY) as name:
        yield _copy(Path(name), tiny=tiny)
    yield _scale(60 if tiny else 500)


@contextlib.contextmanager
def _served(folder: Path) -> Iterator[str]:
    """Apache over `www`."""
    (folder / "www").mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "conf").write_text(APACHE.format(folder=folder, port=port))
    folder.chmod(0o755)
    server = subprocess.Popen(["apache2", "-f", str(folder / "conf"), "-DFOREGROUND"], stderr=subprocess.DEVNULL)
    try:
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if server.poll() is not None:
                raise RuntimeError(f"apache2 ended with {server.returncode}")
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def _fill(place: Path, size: int) -> None:
    """Bytes that look like nothing."""
    block = random.Random(1).randbytes(MB)
    with place.open("wb") as file:
        for number in range(size // MB):
            file.write(number.to_bytes(8, "big") + block[8:])


# ---------------------------------------------------------------- speed
def _speed(folder: Path, url: str, rounds: int) -> Iterator[Row]:
    size = (folder / "www/a").stat().st_size / MB
    curl = f"curl -s {url} | sha256sum"
    ours, pipe, aria = [], [], []
    for number in range(rounds):
        ours.append(size / _ours(folder / f"store{number}", url))
        pipe.append(size / _took(["sh", "-c", curl]))
        if shutil.which("aria2c"):
            out = ["-d", str(folder), "-o", f"aria{number}", "--file-allocation=none", "-x4", "--allow-overwrite=true"]
            aria.append(size / _took(["aria2c", "-q", *out, url]))
            (folder / f"aria{number}").unlink()
    note = f"{size:.0f} MB, hashed, synced and judged; a process of its own, its start not counted"
    yield row(NAMES[0], median(ours), "MB/s", better="higher", against=("curl piped into sha256sum", median(pipe)), note=note)
    if aria:
        peer = ("aria2c -x4, nothing hashed", median(aria))
        yield row(NAMES[1], median(ours), "MB/s", better="higher", against=peer, note=note)
    else:
        yield failed(NAMES[1], "this machine lacks aria2c")


def _took(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def _ours(folder: Path, url: str) -> float:
    """Seconds of one download, by the clock of the process that does it."""
    (folder / "store").mkdir(parents=True)
    done = subprocess.run(
        [sys.executable, "-c", TIMED, str(folder), url], check=True, capture_output=True, text=True,
        cwd=WORKER.parent, env={**os.environ, "PYTHONPATH": str(WORKER.parents[2])},
    )  # fmt: skip
    shutil.rmtree(folder)
    return float(done.stdout)


TIMED = """
import sys, time, pathlib, io, uvloop, asyncio
asyncio.run = uvloop.run
sys.stdout, out = io.TextIOWrapper(io.BytesIO()), sys.stdout
import sysvm.agent.roles.secstorage.role
began = time.perf_counter()
import runpy
sys.argv = ["storage_worker.py", *sys.argv[1:]]
runpy.run_path("storage_worker.py")
print(time.perf_counter() - began, file=out)
"""


# ---------------------------------------------------------------- resume
def _resume(folder: Path, url: str, times: int) -> Iterator[Row]:
    """Workers that are killed at a random byte, and their successors."""
    chance = random.Random(2)
    again, seconds = [], []
    for number in range(times):
        place = folder / f"killed{number}"
        found = _killed(place, folder / "requests", url, chance)
        shutil.rmtree(place)
        if found is not None:
            again.append(found[0])
            seconds.append(found[1])
    note = f"{len(again)} of {times} workers were killed before they were done; median {median(again) / MB:.1f} MB"
    yield row(NAMES[2], max(again), "bytes", note=f"the most of all; a chunk is {16 * MB}; {note}")
    yield row(NAMES[3], max(seconds), "s", note=f"the longest, with the start of Python; median {median(seconds):.2f} s")


def _killed(place: Path, requests: Path, url: str, chance: random.Random) -> tuple[float, float] | None:
    """(bytes asked for again, seconds to the first request); None when it was done before."""
    (place / "store").mkdir(parents=True)
    data, wanted = place / "store/incoming/image-1/data", chance.uniform(0.02, 0.95)
    total = int(subprocess.check_output(["curl", "-sI", url], text=True).split("Content-Length: ")[1].split()[0])
    first = _worker(place, url)
    while first.poll() is None and (not data.exists() or data.stat().st_size < wanted * total):
        time.sleep(0.001)
    first.send_signal(signal.SIGKILL)
    first.wait()
    if not data.exists():
        return None
    there, killed = data.stat().st_size, time.time()
    known = len(requests.read_text().splitlines())
    second = _worker(place, url)
    said, _ = second.communicate()
    if json.loads(said)["size"] != total:
        raise RuntimeError("the successor has not brought everything")
    lines = requests.read_text().splitlines()[known:]
    found = [(int(line.split()[1]) + int(line.split()[0]) / 1000, re.search(r"bytes=(\d+)-", line)) for line in lines]
    # The killed one's own request is written when its connection ends; the successor's has the later time.
    at, form = max(found, key=lambda one: one[0])
    return float(there - (int(form[1]) if form else 0)), max(0.0, at - killed)


def _worker(place: Path, url: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, str(WORKER), str(place), url], stdout=subprocess.PIPE)


# ---------------------------------------------------------------- copies and scale
def _copy(folder: Path, *, tiny: bool) -> Row:
    from bench.storage_copy import measured

    return measured(folder, tiny=tiny)


def _scale(count: int) -> Row:
    """Commands of many weights come over some minutes of virtual time, on a fleet that begins with one machine."""
    from bench.storage_fleet import measured

    found = measured(count)
    weights = f"{count} commands of weight 1 to 18, {found.weight} in all, 12 to 108 s each"
    note = f"{weights}; {found.added} machines added, {found.retired} retired"
    return row(NAMES[5], found.spread, "%", note=f"{note}; mean over {found.looks} looks while the fleet was the same")
