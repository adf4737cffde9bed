"""Named work in a host's ledger, as turns use it: started once, found again after any crash of anybody, looked at until it ends.

Names are `<turn kind>:<id>:...`, so that a host's word of its end wakes the turn that waits for it (notices).
"""

from dataclasses import dataclass

from sysvm.basics.errors import NotYet
from sysvm.orchestrator.context import Context
from sysvm.orchestrator.turns import preparation
from sysvm.store import tables
from sysvm.store.queries import snapshot_copies, snapshots, turns, volume_images
from sysvm.store.queries.turns import Turn
from sysvm.store.store import Row, Tx
from sysvm.wire import link
from sysvm.wire.grants import FetchTicket, sign_ticket
from sysvm.wire.machines import OperationSeen

TICKET_S = 12 * 3600.0
WAKING = ("volume", "snapshot", "vmsnapshot")


async def run(context: Context, turn: Turn, host_id: int, name: str, body: link.HostTaskBody) -> OperationSeen:
    """How far the work is; it is started where it is not."""
    order = link.RunHostTask(name=name, fence=turn.fence, body=body)
    return await context.links.to(host_id).call(order, OperationSeen, seconds=60)


async def forget(context: Context, host_id: int, *names: str) -> None:
    """The host need not remember it any longer."""
    for name in names:
        await context.links.to(host_id).call(link.ForgetHostTask(name=name), link.Nothing)


def stir(tx: Tx, name: str) -> bool:
    """Work of this name has moved on: the turn that has started it looks again. False: that was a placement's."""
    kind, _, rest = name.partition(":")
    id_ = rest.partition(":")[0]
    if kind not in WAKING or not id_.isdecimal():
        return False
    turns.look_again(tx, kind, int(id_))
    return True


# ---------------------------------------------------------------- chains
@dataclass(frozen=True, slots=True)
class Link:
    """One file of a snapshot's chain."""

    image: str
    sha256: str
    size: int
    store: str
    format: str = "qcow2"


@dataclass(frozen=True, slots=True)
class Chain:
    """Everything that a snapshot is made of, and who hands it out."""

    links: tuple[Link, ...]
    address: str


def chain_of(tx: Tx, snapshot: Row, zone_id: int) -> Chain:
    """The chain as a zone has it; NotYet while nobody there can hand it out."""
    address = preparation.image_server(tx, zone_id)
    if not address:
        raise NotYet(2, "no secondary storage VM serves images in this zone yet")
    return Chain(tuple(_link(tx, row, zone_id) for row in snapshots.chain(tx, snapshot)), address)


def uploaded(tx: Tx, volume: Row) -> Chain:
    """What somebody has uploaded; NotYet while nobody can hand it out."""
    found, address = volume_images.stored(tx, volume), preparation.image_server(tx, volume.zone_id)
    image = tx.get(tables.template, volume.image_id)
    if found is None or image is None or not address:
        raise NotYet(2, "no secondary storage VM serves what was uploaded yet")
    one = Link(found.image, found.sha256, image.size_bytes, found.store, image.format.lower())
    return Chain((one,), address)


def _link(tx: Tx, row: Row, zone_id: int) -> Link:
    at = snapshot_copies.store_of(tx, row, zone_id)
    store = tx.get(tables.image_store, at) if at is not None else None
    if store is None:
        raise NotYet(10, f"snapshot {row.name} is not on an image store of this zone")
    return Link(row.uuid, row.sha256, row.size_bytes, store.uuid)


def sources(context: Context, chain: Chain, pool: str) -> tuple[link.FetchImage, ...]:
    """How the host gets them, with fresh tickets."""
    until = context.clock.now() + TICKET_S
    return tuple(
        link.FetchImage(
            pool=pool,
            sha256=one.sha256,
            size=one.size,
            format=one.format,
            address=chain.address,
            port=preparation.IMAGE_PORT,
            store=one.store,
            image=one.image,
            ticket=sign_ticket(
                context.keys.ticket_key,
                FetchTicket(store=one.store, image=one.image, sha256=one.sha256, expires=until),
            ),
            ca=context.keys.authority.ca_pem,
        )
        for one in chain.links
    )
