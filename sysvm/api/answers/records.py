"""Events, alerts and annotations as answers show them."""

from typing import Any

from sysvm.api.answers.times import stamp
from sysvm.store.store import Row


def event(row: Row) -> dict[str, Any]:
    """An event; the row carries the names of who did it and whose it is."""
    answer = {
        "id": row.uuid, "type": row.type, "level": row.level, "description": row.description, "state": row.state,
        "account": row.account_name, "domainid": row.domain_uuid, "domain": row.domain_name,
        "domainpath": row.domain_text, "created": stamp(row.created), "archived": row.archived,
    }  # fmt: skip
    optional = {
        "username": row.username, "parentid": row.parent_uuid, "resourceid": row.resource_uuid,
        "resourcetype": row.resource_type, "resourcename": row.resource_name,
    }  # fmt: skip
    return answer | {name: value for name, value in optional.items() if value}


def alert(row: Row) -> dict[str, Any]:
    """An alert; its description is the subject line."""
    return {
        "id": row.uuid, "type": row.type, "name": row.name, "description": row.subject, "sent": stamp(row.sent),
    }  # fmt: skip


def annotation(row: Row, entity_name: str) -> dict[str, Any]:
    """A note; the row carries its user."""
    answer = {
        "id": row.uuid, "annotation": row.text, "entitytype": row.entity_type, "entityid": row.entity_uuid,
        "entityname": entity_name, "userid": row.user_uuid, "username": row.username, "adminsonly": row.admins_only,
        "created": stamp(row.created),
    }  # fmt: skip
    return answer | ({"removed": stamp(row.removed)} if row.removed is not None else {})
