"""Alerts: what an operator should look at."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from sysvm.api import errors
from sysvm.api.answers.records import alert
from sysvm.api.call import Accepted, Call, Reply, Rows, Success
from sysvm.api.commands.server.events import selected
from sysvm.api.handlers import handler
from sysvm.api.listing import list_rows
from sysvm.basics.errors import Refused
from sysvm.store import tables
from sysvm.store.queries import alerts
from sysvm.store.queries.alerts import NAMES, AlertType
from sysvm.store.queries.events import About
from sysvm.store.store import Row, Tx


@handler("listAlerts")
def list_alerts(call: Call) -> Rows:
    """Newest first; archived ones never."""
    table = tables.alert
    statement = sa.select(table).where(table.c.archived.is_(False)).order_by(table.c.sent.desc(), table.c.id.desc())
    for name in ("type", "alerttype"):
        if call.get(name):
            statement = statement.where(table.c.type == int(_type(call, name)))

    def answer(_tx: Tx, rows: Sequence[Row]) -> list[dict[str, Any]]:
        return [alert(row) for row in rows]

    return list_rows(call, statement, table, answer, equal={"name": table.c.name}, keyword=(table.c.subject, table.c.name))


def _type(call: Call, name: str) -> AlertType:
    """A number, or CloudStack's name for it."""
    given = str(call[name])
    by_name = {text: type_ for type_, text in NAMES.items()}
    if given.upper() in by_name:
        return by_name[given.upper()]
    if given.isdecimal() and int(given) in set(AlertType):
        return AlertType(int(given))
    raise errors.invalid(call.command.name, name, given[:64])


@handler("listAlertTypes")
def list_alert_types(_call: Call) -> Rows:
    """Numbers and names."""
    rows = [{"id": int(type_), "alerttypeid": int(type_), "name": name} for type_, name in sorted(NAMES.items())]
    return Rows(rows, len(rows))


@handler("generateAlert")
def generate_alert(call: Call) -> Reply:
    """An alert by hand; it stands beside those that the cloud raises."""
    if call["type"] not in set(AlertType):
        raise Refused(f"There is no alert type {call['type']}: listAlertTypes shows them")
    zone, pod = call.row(tables.zone, "zoneid"), call.row(tables.pod, "podid")
    uuid = call.ids.uuid()
    id_ = alerts.add(
        call.tx, uuid, type=call["type"], name=call["name"], subject=call["description"], content=call["description"],
        zone_id=zone.id if zone else None, pod_id=pod.id if pod else None,
    )  # fmt: skip
    return Accepted((), About("Alert", id_, uuid, call["name"]), f"generating alert {call['name']}")


@handler("archiveAlerts")
def archive_alerts(call: Call) -> Reply:
    """Out of the list; what lasts is raised anew."""
    table = tables.alert
    call.tx.change(sa.update(table).where(*_wanted(call)).values(archived=True))
    return Success()


@handler("deleteAlerts")
def delete_alerts(call: Call) -> Reply:
    """Gone."""
    table = tables.alert
    call.tx.change(sa.delete(table).where(*_wanted(call)))
    return Success()


def _wanted(call: Call) -> list[sa.ColumnElement[bool]]:
    table = tables.alert
    found = selected(call, table, table.c.sent)
    return [*found, table.c.type == int(_type(call, "type"))] if call.get("type") else found
