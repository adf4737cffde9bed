"""Image stores: how each kind comes into a secondary storage VM, and what those machines tell of them.

A directory is handed over by the host, as a mount; of a bucket the directory in which images wait, and its keys are in the
document. An NFS share is mounted by the machine itself, for which it needs a kernel of
its own: a container's root may not mount it, whatever the host's kernel can do.
Races thought of: several machines of a zone serve one store and each tells what it sees; the last one to speak is believed, and a
store that only one of them cannot reach is told as such by that one, anew at each change.
"""

from collections.abc import Collection
from typing import Any

import msgspec
import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries import alerts, events, hosts, machines, settings
from sysvm.store.queries.alerts import AlertType
from sysvm.store.secrets import Vault
from sysvm.store.store import Row, Tx
from sysvm.wire.channel import StoreSeen, StoresReport
from sysvm.wire.documents import Bucket, Store
from sysvm.wire.machines import Kind
from sysvm.wire.nfs import NfsShare, parse_share

NFS, DIRECTORY, S3 = "nfs", "file", "s3"
OWN_KERNEL = ("KVM",)  # hypervisors whose machines have one
SIMULATED = ("Simulator",)


def directories() -> sa.ColumnElement[Any]:
    """A condition on `image_store`: the host hands it over."""
    return tables.image_store.c.protocol.in_((DIRECTORY, S3))


def directory(row: Row) -> str:
    """Which one; empty where there is none."""
    if row.protocol == S3:
        return str(row.details["staging"])
    return str(row.url).removeprefix("file://") if row.protocol == DIRECTORY else ""


def in_zone(tx: Tx, zone_id: int) -> list[Row]:
    """All of them."""
    return list(tx.rows(tables.image_store, "zone_id = :zone and removed is null order by id", zone=zone_id))


def to_serve(tx: Tx, zone_id: int, vault: Vault) -> tuple[Store, ...]:
    """The stores in the document of a secondary storage VM."""
    return tuple(
        Store(
            store=row.uuid,
            path=f"/sysvm/store/{row.uuid}",
            read_only=row.read_only,
            nfs=_share(tx, row),
            bucket=_bucket(row, vault),
        )
        for row in in_zone(tx, zone_id)
    )


def _share(tx: Tx, row: Row) -> NfsShare | None:
    if row.protocol != NFS:
        return None
    return parse_share(row.url).with_version(str(settings.value(tx, "secstorage.nfs.version", store_id=row.id) or ""))


def sealed(bucket: Bucket, staging: str, vault: Vault) -> dict[str, str]:
    """A bucket as the row's details: nobody reads its secret key there."""
    found = msgspec.to_builtins(msgspec.structs.replace(bucket, secret_key=vault.seal(bucket.secret_key)))
    return {**found, "staging": staging}


def _bucket(row: Row, vault: Vault) -> Bucket | None:
    if row.protocol != S3:
        return None
    found = msgspec.convert(row.details, type=Bucket)
    return msgspec.structs.replace(found, secret_key=vault.open(found.secret_key))


# ---------------------------------------------------------------- who can mount
def can_mount(tx: Tx, zone_id: int) -> bool | None:
    """Whether a secondary storage VM of the zone can mount NFS; None while no host has told what it runs."""
    return hosts.runs_any(tx, zone_id, OWN_KERNEL + SIMULATED)


def needs_own_kernel(tx: Tx, machine: Row) -> str:
    """The store for which a secondary storage VM has to be a machine with a kernel of its own; empty when it need not."""
    if machine.kind != Kind.SECONDARY_STORAGE:
        return ""
    return next((row.name for row in in_zone(tx, machine.zone_id) if row.protocol == NFS), "")


def cannot_be_mounted(tx: Tx, zone_id: int, name: str) -> None:
    """An alert: the zone's secondary storage VM is a container."""
    why = "no host of the zone runs virtual machines (QEMU), and a container cannot mount NFS"
    text = f"Image store {name} cannot be used: {why}. Add such a host and destroy the secondary storage VM, or use a directory"
    alerts.raise_alert(tx, AlertType.SECONDARY_STORAGE, text, zone=zone_id)


def tell_workers(tx: Tx, zone_id: int, *, anew: Collection[str] = ()) -> None:
    """The stores have changed: running secondary storage VMs hear of it. Those of runtimes in `anew` live their next incarnation,
    in which downloads go on."""
    here = "zone_id = :zone and kind = :kind and wanted = 'running' and removed is null"
    for worker in tx.rows(tables.machine, here, zone=zone_id, kind=Kind.SECONDARY_STORAGE):
        if worker.runtime in anew:
            machines.replace(tx, worker)
        else:
            machines.wish_document(tx, worker.id)


# ---------------------------------------------------------------- what they tell
def heard(tx: Tx, machine: str, report: StoresReport) -> None:
    """Sizes are written down, and what is wrong; a change of that is an alert or an event."""
    worker = machines.machine_by_uuid(tx, machine)
    if worker is None:
        return
    rows = {row.uuid: row for row in in_zone(tx, worker.zone_id)}
    for seen in report.stores:
        if (row := rows.get(seen.store)) is not None:
            _heard_of(tx, worker, row, seen)


def _heard_of(tx: Tx, worker: Row, row: Row, seen: StoreSeen) -> None:
    note = f"{seen.why}: {seen.remedy}" if seen.why else ""
    changed: dict[str, Any] = {"note": note} if note != row.note else {}
    if seen.total:
        changed |= {"capacity_bytes": seen.total, "used_bytes": seen.used}
    if changed:
        tx.update(tables.image_store, row.id, **changed)
    if note != row.note:
        _tell_of(tx, worker, row, note)


def _tell_of(tx: Tx, worker: Row, row: Row, note: str) -> None:
    if row.note:
        alerts.resolve(tx, AlertType.STORAGE_MISC, zone=row.zone_id, subject=_subject(row, row.note))
    if note:
        content = f"{_subject(row, note)}. Said by {worker.name}"
        alerts.raise_alert(tx, AlertType.STORAGE_MISC, _subject(row, note), content, zone=row.zone_id)
    else:
        text = f"Image store {row.name} can be used again by {worker.name}"
        events.record(tx, "IMAGE.STORE.HEALTH", text, actor=events.SYSTEM)


def _subject(row: Row, note: str) -> str:
    return f"Image store {row.name} cannot be used: {note}"
