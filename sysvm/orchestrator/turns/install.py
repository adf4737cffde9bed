"""The task "install-host": addHost with a password makes the machine a host over ssh.

It may run twice (the server died in between): the second run finds everything there. When it is over, whatever the end,
neither password nor token is left in the task.
"""

import msgspec

from sysvm.basics.errors import Refused
from sysvm.orchestrator.context import Context
from sysvm.orchestrator.engine import Gone, Outcome
from sysvm.store import tables
from sysvm.store.queries import alerts, events, jobs
from sysvm.store.queries.alerts import AlertType
from sysvm.store.queries.events import About
from sysvm.store.queries.turns import Turn
from sysvm.store.store import Row, Tx

KIND = "install-host"


class Body(msgspec.Struct, frozen=True):
    """What addHost wrote; password and join line are sealed."""

    host: str  # UUID
    address: str
    port: int
    username: str
    password: str
    join: str


async def work(context: Context, turn: Turn, task: Row) -> Outcome:
    """One try. NotYet (nobody answers) is another try until the task's deadline."""
    from sysvm.hub import installer  # its ssh library takes 0.2 s to import, and most servers never need it

    body = msgspec.json.decode(task.body, type=Body)
    vault = context.keys.vault
    servers, token = installer.parse_join(vault.open(body.join))
    job = installer.Installation(body.address, body.port, body.username, vault.open(body.password), servers, token)
    try:
        fingerprint = await installer.install(job)
    except Refused as refused:
        why = refused.text
        return Gone(lambda tx: fail(tx, turn, body.host, why))
    return Gone(lambda tx: _done(tx, turn, body.host, fingerprint))


def overdue(tx: Tx, turn: Turn, task: Row) -> None:
    """Nobody has answered in all the time."""
    body = msgspec.json.decode(task.body, type=Body)
    fail(tx, turn, body.host, task.error or "it did not answer on ssh in time")


def _done(tx: Tx, turn: Turn, uuid: str, fingerprint: str) -> None:
    host = _end(tx, turn, uuid, "done", "")
    if host is None:
        return
    tx.update(tables.host, host.id, why="the host agent was started over ssh; waiting for it to connect")
    text = f"The host agent of {host.name} was started over ssh; the host's ssh key is {fingerprint}"
    events.record(tx, "HOST.ADD", text, about=_about(host))
    jobs.settle(tx, "task", turn.id, turn.wish, "done")


def fail(tx: Tx, turn: Turn, uuid: str, why: str) -> None:
    """The reason stands in the host's row, and is an alert."""
    host = _end(tx, turn, uuid, "failed", why)
    jobs.fail(tx, "task", turn.id, why)
    if host is None or host.state == "Up":
        return
    tx.update(tables.host, host.id, why=why, state="Alert")
    text = f"Host {host.name} could not be installed: {why}"
    alerts.raise_alert(tx, AlertType.HOST, text, zone=host.zone_id, pod=host.pod_id)


def complain(tx: Tx, task: Row, why: str) -> None:
    """The host shows why it is not there yet."""
    body = msgspec.json.decode(task.body, type=Body)
    tx.sql("update host set why = :why where uuid = :uuid and state = 'Connecting'", why=why, uuid=body.host)


def _end(tx: Tx, turn: Turn, uuid: str, state: str, error: str) -> Row | None:
    tx.update(tables.task, turn.id, state=state, error=error, body="{}")
    found = tx.sql("select id from host where uuid = :uuid and removed is null", uuid=uuid)
    return tx.get(tables.host, found[0][0]) if found else None


def _about(host: Row) -> About:
    return About("Host", host.id, host.uuid, host.name)
