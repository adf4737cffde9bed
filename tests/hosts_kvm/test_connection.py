"""The connection to libvirtd, when libvirtd dies: whoever asks hears of it, and the next one asks another libvirtd."""

import asyncio
import os
import signal
import threading
from pathlib import Path

import pytest

from sysvm.basics.clock import SystemClock
from sysvm.hosts.driver import DriverUnavailable
from sysvm.hosts.kvm.connection import Connection
from sysvm.hosts.kvm.daemon import Daemon
from tests.hosts.progress import until
from tests.hosts_kvm.stage import kvm
from tests.hosts_kvm.test_kvm_driver import is_there

pytestmark = pytest.mark.root


async def test_who_waits_behind_another_question_when_libvirtd_dies_is_told_so(tmp_path: Path):
    """A task that nobody has cancelled must not end as if somebody had."""
    async with kvm(tmp_path) as stage, asyncio.TaskGroup() as tasks:
        connection = Connection(Daemon(stage.layout))
        asked, free = threading.Event(), threading.Event()
        ended = tasks.create_task(connection.watch(lambda name: None))
        await connection.call(lambda line: line.isAlive())

        def slowly(line: object) -> None:
            asked.set()
            free.wait()

        tasks.create_task(connection.call(slowly))
        await asyncio.to_thread(asked.wait)
        waits = tasks.create_task(told(connection))
        await asyncio.sleep(0)
        daemon = int((stage.layout.run / "libvirt/libvirtd.pid").read_text())
        os.kill(daemon, signal.SIGKILL)
        await ended
        assert "broke before it was asked" in await waits
        free.set()
        async for _ in until(SystemClock(), "the daemon is gone, and its sockets with it"):
            if not is_there(daemon):
                break
        assert await connection.call(lambda line: line.getLibVersion()) > 0
        connection.close()


async def told(connection: Connection) -> str:
    """Why there is no answer."""
    with pytest.raises(DriverUnavailable) as why:
        await connection.call(lambda line: line.getLibVersion())
    return str(why.value)
