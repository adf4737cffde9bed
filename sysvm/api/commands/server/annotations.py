"""Annotations: notes that people leave on things."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from sysvm.api import errors
from sysvm.api.answers.records import annotation
from sysvm.api.call import Call, One, Reply, Rows
from sysvm.api.handlers import handler
from sysvm.api.listing import list_rows
from sysvm.basics.errors import Refused
from sysvm.store import tables
from sysvm.store.queries.events import About
from sysvm.store.store import Row, Tx

# CloudStack's entity types that exist here. The second set is for root admins.
EVERYBODYS = {
    "VM": tables.machine, "VOLUME": tables.volume, "NETWORK": tables.network, "TEMPLATE": tables.template,
    "ISO": tables.template, "PUBLIC_IP_ADDRESS": tables.public_ip, "SSH_KEYPAIR": tables.ssh_key_pair,
    "VPC": tables.vpc, "ACCOUNT": tables.account, "USER": tables.user, "DOMAIN": tables.domain, "PROJECT": tables.project,
}  # fmt: skip
ADMINS = {
    "HOST": tables.host, "ZONE": tables.zone, "POD": tables.pod, "CLUSTER": tables.cluster,
    "PRIMARY_STORAGE": tables.storage_pool, "SECONDARY_STORAGE": tables.image_store, "VR": tables.machine,
    "SYSTEM_VM": tables.machine, "SERVICE_OFFERING": tables.service_offering, "DISK_OFFERING": tables.disk_offering,
    "NETWORK_OFFERING": tables.network_offering,
}  # fmt: skip


def _table(call: Call, type_: str) -> sa.Table:
    found = EVERYBODYS.get(type_) if not call.caller.is_root else {**EVERYBODYS, **ADMINS}.get(type_)
    if found is None:
        raise Refused(f"Invalid entity type {type_[:64]}, or not for this account")
    return found


def _statement() -> sa.Select[Any]:
    table, user = tables.annotation, tables.user
    return (
        sa.select(table, user.c.uuid.label("user_uuid"), user.c.username.label("username"))
        .join(user, user.c.id == table.c.user_id)
        .where(table.c.removed.is_(None))
    )


def _answers(tx: Tx, rows: Sequence[Row]) -> list[dict[str, Any]]:
    return [annotation(row, _name(tx, row)) for row in rows]


def _name(tx: Tx, row: Row) -> str:
    table = {**EVERYBODYS, **ADMINS}[row.entity_type]
    found = tx.one(sa.select(table).where(table.c.uuid == row.entity_uuid))
    names = ("display_name", "name", "username")
    return next((getattr(found, name) for name in names if getattr(found, name, "")), "")


@handler("addAnnotation")
def add_annotation(call: Call) -> Reply:
    """A note on a thing that the caller sees."""
    for name in ("annotation", "entitytype", "entityid"):
        if not call.get(name):
            raise errors.missing(call.command.name, name)
    type_ = call["entitytype"].upper()
    row = call.find(_table(call, type_), call["entityid"], "entityid")
    admins_only = bool(call.get("adminsonly"))
    if admins_only and not call.caller.is_root:
        raise errors.no_access(call.caller.account_name, "annotations for admins only")
    id_ = call.tx.insert(
        tables.annotation, uuid=call.ids.uuid(), text=call["annotation"], entity_type=type_, entity_uuid=row.uuid,
        user_id=call.caller.user_id, admins_only=admins_only, created=call.now,
    )  # fmt: skip
    answer = _answers(call.tx, call.tx.all(_statement().where(tables.annotation.c.id == id_)))[0]
    return One(answer, About(type_, row.id, row.uuid), "annotated")


@handler("listAnnotations")
def list_annotations(call: Call) -> Rows:
    """The notes on one thing; root admins see those on all."""
    table = tables.annotation
    statement = _statement()
    if call.get("entitytype") and call.get("entityid"):
        type_ = call["entitytype"].upper()
        row = call.find(_table(call, type_), call["entityid"], "entityid")
        statement = statement.where(table.c.entity_type == type_, table.c.entity_uuid == row.uuid)
    elif not call.caller.is_root:
        statement = statement.where(table.c.user_id == call.caller.user_id)
    if not call.caller.is_root:
        statement = statement.where(table.c.admins_only.is_(False))
    if call.get("annotationfilter") == "self":
        statement = statement.where(table.c.user_id == call.caller.user_id)
    if call.get("id"):
        statement = statement.where(table.c.uuid == call["id"])
    return list_rows(call, statement, table, _answers, keyword=(table.c.text,))


@handler("removeAnnotation")
def remove_annotation(call: Call) -> Reply:
    """A note is taken away by its writer or a root admin."""
    row = call.need(tables.annotation, "id")
    if row.user_id != call.caller.user_id and not call.caller.is_root:
        raise errors.no_access(call.caller.account_name, f"annotation {row.uuid}")
    answer = _answers(call.tx, call.tx.all(_statement().where(tables.annotation.c.id == row.id)))[0]
    call.tx.update(tables.annotation, row.id, removed=call.now)
    return One(answer, About(row.entity_type, None, row.entity_uuid), "annotation removed")
