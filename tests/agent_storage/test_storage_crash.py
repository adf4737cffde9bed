"""Killed in the middle of a download, a new process goes on where the record says."""

import asyncio
import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path

from storage_stage import PATIENCE, Exchange, Source, partial, raw

from sysvm.agent.roles.secstorage.incoming import SYNC_EVERY

DATA = raw(SYNC_EVERY * 6)
WORKER = Path(__file__).with_name("storage_worker.py")


async def test_a_killed_worker_goes_on_and_reads_less_than_one_piece_again(tmp_path: Path) -> None:
    source, stop = Source(), asyncio.Event()
    await source.start()

    async def answer(ask: Exchange) -> None:
        if ask.start is None:
            await ask.say("200 OK", f"Content-Length: {len(DATA)}", 'ETag: "1"', body=DATA[: SYNC_EVERY * 4])
            await stop.wait()
        else:
            await partial(ask, DATA, ask.start, len(DATA))

    (tmp_path / "store").mkdir()
    url = source.serve("/a", answer)
    first = await worker(tmp_path, url)
    record = tmp_path / "store/incoming/image-1/record.json"
    await asyncio.to_thread(until_done, record)
    os.kill(first.pid, signal.SIGKILL)
    await first.wait()
    done = json.loads(record.read_bytes())["done"]
    second = await worker(tmp_path, url)
    said, _ = await asyncio.wait_for(second.communicate(), PATIENCE)
    stop.set()
    source.stop()
    assert json.loads(said)["sha256"] == hashlib.sha256(DATA).hexdigest()
    assert [None, done] == source.ranges()
    assert done >= SYNC_EVERY
    assert not record.exists()


def until_done(record: Path) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if record.exists() and json.loads(record.read_bytes())["done"]:
            return
        os.sched_yield()
    raise TimeoutError("the worker has brought nothing")


async def worker(folder: Path, url: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, WORKER, str(folder), url, stdout=asyncio.subprocess.PIPE, stderr=None
    )
