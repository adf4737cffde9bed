"""What a host must have before a guest can start there: images on its primary storage, volumes made from them.

Both are named pieces of work in the host's ledger: started once, found again after any crash, looked at until they end.
"""

from dataclasses import dataclass

import sqlalchemy as sa

from sysvm.basics.errors import Broken, NotYet
from sysvm.orchestrator.context import Context
from sysvm.store import tables
from sysvm.store.queries import fleets, nics, pool_images, volumes
from sysvm.store.queries.turns import Turn
from sysvm.store.store import Row, Tx
from sysvm.wire import link
from sysvm.wire.grants import FetchTicket, sign_ticket
from sysvm.wire.machines import Kind, OperationSeen, OperationState, Runtime, Traffic

TICKET_S = 3600.0
IMAGE_PORT = 8443


@dataclass(frozen=True, slots=True)
class Fetch:
    """An image must come to the pool."""

    pool_image: int
    template: str  # UUID: the image's name in the store
    pool: str
    sha256: str
    size: int
    format: str
    store: str
    address: str  # of a secondary storage VM; empty: none serves


@dataclass(frozen=True, slots=True)
class Make:
    """A volume must be made."""

    volume_id: int
    volume: str
    pool: str
    size: int
    format: str
    template: str | None


Step = Fetch | Make


def steps(tx: Tx, machine: Row, host: Row) -> tuple[Step, ...]:
    """What is missing on this host, in order."""
    if machine.kind != Kind.GUEST or machine.runtime == Runtime.SIMULATED:
        return ()
    unmade = f"machine_id = :machine and removed is null and state <> 'Ready' and not {volumes.RESTORING}"
    missing: list[Step] = []
    for row in tx.rows(tables.volume, f"{unmade} order by device, id", machine=machine.id):
        missing += _volume_steps(tx, row, machine, host)
    return (*missing, *_drive_steps(tx, machine, host))


def _drive_steps(tx: Tx, machine: Row, host: Row) -> tuple[Step, ...]:
    """The image in its drive. One that has been deleted meanwhile stands in nobody's way."""
    iso = tx.get(tables.template, machine.iso_id) if machine.iso_id is not None else None
    pool = volumes.pool_on(tx, host)
    if iso is None or iso.removed is not None or pool is None:
        return ()
    if not iso.sha256:
        raise NotYet(5, f"ISO {iso.name} has not been downloaded yet")
    missing = fetch(tx, iso, pool, host)
    return (missing,) if missing is not None else ()


def _volume_steps(tx: Tx, volume: Row, machine: Row, host: Row) -> list[Step]:
    pool = tx.get(tables.storage_pool, volume.pool_id) if volume.pool_id is not None else None
    if pool is None:
        raise NotYet(10, f"volume {volume.name} has no primary storage yet")
    template = tx.get(tables.template, volume.template_id) if volume.template_id is not None else None
    form = "dir" if machine.runtime == Runtime.CONTAINER else "qcow2"
    make = Make(volume.id, volume.uuid, pool.path, volume.size_bytes, form, template.sha256 if template is not None else None)
    if template is None:
        return [make]
    if not template.sha256:
        raise NotYet(5, f"template {template.name} has not been downloaded yet")
    missing = fetch(tx, template, pool, host)
    return [missing, make] if missing is not None else [make]


def fetch(tx: Tx, template: Row, pool: Row, host: Row) -> Fetch | None:
    """What brings the image to the pool; None when it is there."""
    table = tables.pool_image
    image = tx.one(
        sa.select(table).where(table.c.host_id == host.id, table.c.pool_id == pool.id, table.c.sha256 == template.sha256)
    )
    if image is not None and image.state == "ready":
        return None
    id_ = image.id if image is not None else tx.insert(
        table, template_id=template.id, pool_id=pool.id, host_id=host.id, sha256=template.sha256, created=tx.now
    )  # fmt: skip
    store = _store_with(tx, template.id, host.zone_id)
    return Fetch(
        pool_image=id_,
        template=template.uuid,
        pool=pool.path,
        sha256=template.sha256,
        size=template.size_bytes,
        format=template.format,
        store=store,
        address=image_server(tx, host.zone_id),
    )


def _store_with(tx: Tx, template_id: int, zone_id: int) -> str:
    copy, store = tables.template_copy, tables.image_store
    uuid = tx.value(
        sa.select(store.c.uuid)
        .join(copy, copy.c.store_id == store.c.id)
        .where(copy.c.template_id == template_id, copy.c.zone_id == zone_id, copy.c.state == "DOWNLOADED")
    )
    if uuid is None:
        raise NotYet(5, "the template is not on secondary storage of this zone yet")
    return str(uuid)


def image_server(tx: Tx, zone_id: int) -> str:
    """Management address of the secondary storage VM that serves and has least to do."""
    here = fleets.members(tx, fleets.living(tx, zone_id, Kind.SECONDARY_STORAGE))
    for member in sorted((one for one in here if one.serves), key=lambda one: (one.load, one.id)):
        for nic in nics.of_machine(tx, member.id):
            if nic.traffic == Traffic.MANAGEMENT and nic.primary is not None:
                return nic.primary.text
    return ""


async def perform(context: Context, turn: Turn, host: int, step: Step) -> tuple[float, str]:
    """Starts or finds the work: when to look again, and how far it is."""
    return await became(context, host, step, await ask(context, turn, host, step))


async def ask(context: Context, turn: Turn, host: int, step: Step) -> OperationSeen:
    """Starts or finds the work; how far it is."""
    name, body = _order(context, step)
    run = link.RunHostTask(name=name, fence=turn.fence, body=body)
    return await context.links.to(host).call(run, OperationSeen, seconds=60)


async def became(context: Context, host: int, step: Step, seen: OperationSeen) -> tuple[float, str]:
    """What follows of it: when to look again, and how far it is."""
    name, _ = _order(context, step)
    match seen.state:
        case OperationState.RUNNING:
            return 1.0, f"{_title(step)}: {seen.progress:.0%}"
        case OperationState.FAILED:
            await context.links.to(host).call(link.ForgetHostTask(name=name), link.Nothing)
            raise Broken(f"{_title(step)} failed: {seen.error}")
        case OperationState.DONE:
            await context.store.run(lambda tx: _done(tx, step))
            await context.links.to(host).call(link.ForgetHostTask(name=name), link.Nothing)
            return 0.0, ""


def _title(step: Step) -> str:
    return "fetching the template" if isinstance(step, Fetch) else "making the volume"


def _order(context: Context, step: Step) -> tuple[str, link.HostTaskBody]:
    if isinstance(step, Make):
        return f"volume-{step.volume}", link.EnsureVolume(
            pool=step.pool, volume=step.volume, size=step.size, format=step.format, template=step.template
        )
    if not step.address:
        raise NotYet(2, "no secondary storage VM serves images in this zone yet")
    until = context.clock.now() + TICKET_S
    ticket = FetchTicket(store=step.store, image=step.template, sha256=step.sha256, expires=until)
    return f"image-{step.sha256}", link.FetchImage(
        pool=step.pool,
        sha256=step.sha256,
        size=step.size,
        format=step.format.lower(),
        address=step.address,
        port=IMAGE_PORT,
        store=step.store,
        image=step.template,
        ticket=sign_ticket(context.keys.ticket_key, ticket),
        ca=context.keys.authority.ca_pem,
    )


def _done(tx: Tx, step: Step) -> None:
    """True since the host says so; writing it twice changes nothing, so it needs no fence."""
    match step:
        case Fetch():
            pool_images.has_come(tx, step.pool_image)
        case Make():
            tx.update(tables.volume, step.volume_id, state="Ready")
