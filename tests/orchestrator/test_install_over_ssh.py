"""addHost with a password: a real sshd, on a port and with accounts of its own, seen through a mount namespace of its own."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from sysvm.basics.errors import NotYet, Refused
from sysvm.basics.tasks import Tasks
from sysvm.cli.simulated import Earth
from sysvm.hub.installer import Installation, install, parse_join, script
from sysvm.orchestrator.turns import task as task_turn
from sysvm.store import tables
from sysvm.store.queries import turns
from sysvm.store.store import Tx
from tests.simulation.cloud import Cloud

PASSWORD = "gr33n-parrot"
TOKEN = "s3cret-token@ab12"
JOIN = f"sysvm agent join --server 10.0.0.1:8250 --server [fd00::1]:8250 --token {TOKEN}"
CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/key
PidFile none
UsePAM no
PermitRootLogin yes
PasswordAuthentication yes
StrictModes no
SetEnv PATH={folder}/bin:/usr/sbin:/usr/bin:/sbin:/bin
"""
START = """
mount --bind {folder}/shadow /etc/shadow
mount --bind {folder}/var /var/lib
mkdir -p /run/sshd
exec /usr/sbin/sshd -D -e -f {folder}/config
"""
# Stands for the program on the host: it says how it was started, and with which token.
PROGRAM = """#!/bin/sh
echo "$@" > {folder}/started
cat /var/lib/sysvm/join-token >> {folder}/started
exec sleep 1000
"""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="sshd in a mount namespace needs root")


class Machine:
    """A machine with sshd, and with sysvm unless it is taken away."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self.program = folder / "bin" / "sysvm"

    def job(self, password: str = PASSWORD) -> Installation:
        """What addHost asks for."""
        return Installation("127.0.0.1", self.port, "root", password, *parse_join(JOIN))

    def started(self) -> list[str]:
        """What its agent was started with, once it is."""
        for _ in range(200):
            if (self.folder / "started").exists() and len(lines := (self.folder / "started").read_text().split("\n")) > 2:
                return lines[:2]
            time.sleep(0.05)
        raise AssertionError((self.folder / "log").read_text())


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """Nothing of it is left, whatever becomes of the test."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    made = Machine(tmp_path, port)
    _furnish(made)
    with (tmp_path / "log").open("wb") as log:
        sshd = subprocess.Popen(
            ["unshare", "-m", "sh", "-euc", START.format(folder=tmp_path)],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _wait_for(port, sshd)
        yield made
    finally:
        services = tmp_path / "var/sysvm/services"
        if services.exists():
            subprocess.run(["s6-svscanctl", "-t", services], check=False, capture_output=True)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(sshd.pid, signal.SIGTERM)
        sshd.wait()


def _furnish(machine: Machine) -> None:
    folder = machine.folder
    for name in ("bin", "var"):
        (folder / name).mkdir()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "key"], check=True)
    hashed = subprocess.run(["openssl", "passwd", "-6", "-stdin"], input=PASSWORD, text=True, check=True, capture_output=True)
    (folder / "shadow").write_text(f"root:{hashed.stdout.strip()}:19000:0:99999:7:::\nsshd:*:19000:0:99999:7:::\n")
    (folder / "config").write_text(CONFIG.format(port=machine.port, folder=folder))
    machine.program.write_text(PROGRAM.format(folder=folder))
    machine.program.chmod(0o755)


def _wait_for(port: int, sshd: subprocess.Popen[bytes]) -> None:
    while sshd.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as there:
            if there.recv(4):
                return
        time.sleep(0.05)
    raise AssertionError("sshd has ended")


# ---------------------------------------------------------------- the errand
@needs_root
async def test_the_agent_is_started_under_a_supervisor_with_the_token(machine: Machine):
    """No argument list holds the token; a second run changes nothing."""
    fingerprint = await install(machine.job())
    assert fingerprint.startswith("SHA256:")
    options, token = machine.started()
    assert "agent host --state /var/lib/sysvm --server 10.0.0.1:8250 --server [fd00::1]:8250" in options
    assert "s3cret" not in options
    assert TOKEN == token
    kept = machine.folder / "var/sysvm/join-token"
    assert 0o600 == kept.stat().st_mode & 0o777
    assert fingerprint == await install(machine.job())
    assert shutil.which("s6-svscan")


@needs_root
async def test_what_is_wrong_is_said_without_the_password(machine: Machine):
    """A wrong password, no program, nobody there."""
    with pytest.raises(Refused, match="does not let root in with this password") as refused:
        await install(machine.job("no-such"))
    assert "no-such" not in str(refused.value)
    machine.program.unlink()
    with pytest.raises(Refused, match=r"there is no sysvm on 127\.0\.0\.1: install it there"):
        await install(machine.job())
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(NotYet, match="does not answer on ssh"):
            await install(Installation("127.0.0.1", taken.getsockname()[1], "root", PASSWORD, (), TOKEN))


def test_the_shell_cannot_be_reached_by_what_an_operator_types():
    """Servers are quoted; the token stands in a here-document."""
    text = script(Installation("h", 22, "root", "p", ("a; rm -rf /",), TOKEN))
    assert "--server 'a; rm -rf /'" in text
    assert "'p'" not in text


# ---------------------------------------------------------------- the task
@contextlib.asynccontextmanager
async def waiting_host(machine: Machine, password: str) -> AsyncIterator[tuple[Cloud, int]]:
    """A cloud in which addHost has just been called for the machine."""
    cloud = Cloud()
    cloud.earth = Earth(cloud.clock, Tasks())  # without hosts
    server = await cloud._begin(True)
    vault = cloud.vault

    def add(tx: Tx) -> int:
        life = {"created": tx.now}
        zone = tx.insert(tables.zone, uuid=cloud.ids.uuid(), name="z", **life)
        pod = tx.insert(tables.pod, uuid=cloud.ids.uuid(), zone_id=zone, name="p", **life)
        cluster = tx.insert(tables.cluster, uuid=cloud.ids.uuid(), zone_id=zone, pod_id=pod, name="c", **life)
        host = tx.insert(tables.host, uuid=cloud.ids.uuid(), name="h", zone_id=zone, pod_id=pod, cluster_id=cluster,
                         hypervisor="KVM", address="127.0.0.1", state="Connecting", **life)  # fmt: skip
        body = {"host": tx.get(tables.host, host).uuid, "address": "127.0.0.1", "port": machine.port, "username": "root",
                "password": vault.seal(password), "join": vault.seal(JOIN)}  # fmt: skip
        id_ = tx.insert(tables.task, uuid=cloud.ids.uuid(), kind="install-host", body=json.dumps(body),
                        deadline=tx.now + 900, **life)  # fmt: skip
        turns.wish(tx, "task", id_)
        return id_

    id_ = await cloud.store.run(add)
    (turn,) = [turn for turn in await cloud.store.run(lambda tx: turns.claim(tx, server.context.session)) if turn.kind == "task"]
    outcome = await task_turn.work(server.context, turn)
    await cloud.store.run(outcome.write)
    yield cloud, id_
    await cloud.store.close()


@needs_root
async def test_the_task_tells_the_host_what_it_waits_for(machine: Machine):
    """Afterwards neither password nor token is in the database, sealed or not."""
    async with waiting_host(machine, PASSWORD) as (cloud, id_):
        task = await cloud.row(tables.task, id_)
        assert ("done", "{}") == (task.state, task.body)
        assert "waiting for it to connect" in (await cloud.row(tables.host, 1)).why
        said = await cloud.store.read(lambda tx: tx.sql("select description from event"))
        assert any("ssh key is SHA256:" in text for (text,) in said)
    machine.started()


@needs_root
async def test_a_failed_installation_is_an_alert_with_the_reason(machine: Machine):
    """It stands in the host's row, too."""
    async with waiting_host(machine, "wrong") as (cloud, id_):
        task, host = await cloud.row(tables.task, id_), await cloud.row(tables.host, 1)
        assert ("failed", "{}", "Alert") == (task.state, task.body, host.state)
        assert "does not let root in" in host.why
        (alert,) = await cloud.store.read(lambda tx: tx.sql("select subject from alert"))
        assert alert[0].startswith("Host h could not be installed: ")
        assert "wrong" not in alert[0]
