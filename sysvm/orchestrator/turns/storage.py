"""Images on a host's primary storage: brought there ahead of their first guest, and removed when nobody needs them any more.

Turns of kind "image" (id of a pool_image); named pieces of work in the host's ledger, started once and found again.
"""

import msgspec

from sysvm.basics.errors import Broken, NotYet
from sysvm.orchestrator.context import Context
from sysvm.orchestrator.engine import Gone, Outcome, Result
from sysvm.orchestrator.turns import preparation
from sysvm.store import tables
from sysvm.store.queries import pool_images
from sysvm.store.queries.turns import Turn
from sysvm.store.store import Row, Tx
from sysvm.wire import link
from sysvm.wire.machines import OperationSeen, OperationState

LOOK_S = 1.0


async def work(context: Context, turn: Turn) -> Outcome:
    """One look at an image on a host."""
    row = await context.store.read(lambda tx: tx.get(tables.pool_image, turn.id))
    if row is None or row.state == "ready" or await context.store.read(lambda tx: _host(tx, row.host_id)) is None:
        return Gone()
    if row.state == "unwanted":
        return await _remove_image(context, turn, row)
    if row.state == "fetched":
        return await _install(context, turn, row)
    step = await context.store.run(lambda tx: _step(tx, row))
    if step is None:
        return Gone(lambda tx: pool_images.forget_double(tx, turn.id))
    seen = await preparation.ask(context, turn, row.host_id, step)
    after, note = await preparation.became(context, row.host_id, step, seen)
    return Result(after, lambda tx: _note(tx, turn.id, note, seen.progress))


def _host(tx: Tx, id_: int) -> Row | None:
    host = tx.get(tables.host, id_)
    return host if host is not None and host.removed is None else None


def _step(tx: Tx, row: Row) -> preparation.Fetch | None:
    template, pool, host = (
        tx.get(tables.template, row.template_id), tx.get(tables.storage_pool, row.pool_id), _host(tx, row.host_id)
    )  # fmt: skip
    if template is None or template.removed is not None or pool is None or pool.removed is not None or host is None:
        return None
    if not template.sha256:
        raise NotYet(5, f"template {template.name} has not been downloaded yet")
    if row.sha256 != template.sha256 and not pool_images.name(tx, row, template.sha256):
        return None
    return preparation.fetch(tx, template, pool, host)


def _note(tx: Tx, id_: int, note: str, progress: float = 0.0) -> None:
    not_ready = "update pool_image set note = :note, progress = :progress where id = :id and state not in ('ready', 'fetched')"
    tx.sql(not_ready, note=note, progress=progress, id=id_)


async def _install(context: Context, turn: Turn, row: Row) -> Outcome:
    """The host takes the system VM template out of the image."""
    pool = await context.store.read(lambda tx: tx.get(tables.storage_pool, row.pool_id))
    template = await context.store.read(lambda tx: tx.get(tables.template, row.template_id))
    if pool is None or template is None:
        return Gone()
    body = link.InstallTemplate(pool=pool.path, sha256=row.sha256, format=template.format.lower())
    seen = await _run(context, turn, row.host_id, f"install-{row.sha256}", body)
    if seen.state is OperationState.RUNNING or not seen.result:
        return Result(LOOK_S)
    made = msgspec.msgpack.decode(seen.result, type=link.TemplateInstalled)
    return Gone(lambda tx: pool_images.installed(tx, turn.id, made.version))


async def _remove_image(context: Context, turn: Turn, row: Row) -> Outcome:
    pool = await context.store.read(lambda tx: tx.get(tables.storage_pool, row.pool_id))
    template = await context.store.read(lambda tx: tx.get(tables.template, row.template_id))
    if pool is None or template is None:
        return Gone()
    body = link.RemoveImage(pool=pool.path, sha256=row.sha256, format=template.format.lower())
    seen = await _run(context, turn, row.host_id, f"remove-image-{row.id}", body)
    if seen.state is OperationState.RUNNING:
        return Result(LOOK_S)
    return Gone(lambda tx: pool_images.remove(tx, turn.id))


async def _run(context: Context, turn: Turn, host_id: int, name: str, body: link.HostTaskBody) -> OperationSeen:
    """How far the work is; starts it where it is not. Raises Broken when it has failed."""
    peer = context.links.to(host_id)
    seen = await peer.call(link.RunHostTask(name=name, fence=turn.fence, body=body), OperationSeen, seconds=60)
    if seen.state is not OperationState.RUNNING:
        await peer.call(link.ForgetHostTask(name=name), link.Nothing)
    if seen.state is OperationState.FAILED:
        raise Broken(seen.error)
    return seen


def complain(tx: Tx, id_: int, why: str) -> None:
    """The reason stands in the image's row."""
    _note(tx, id_, why)
