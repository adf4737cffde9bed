"""Usage records: bytes through public addresses, counted as routers tell them."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from sysvm.api.answers import usage as answers
from sysvm.api.answers.owners import without_empty
from sysvm.api.call import Call, Reply, Rows, Success
from sysvm.api.handlers import handler
from sysvm.api.listing import list_rows
from sysvm.basics.errors import Refused
from sysvm.store import tables
from sysvm.store.queries.usage import RECEIVED, SENT
from sysvm.store.store import Row, Tx

DAY_S = 86400.0


@handler("listUsageRecords")
def list_usage_records(call: Call) -> Reply:
    """Periods that lie between the two dates; a last day without a time of day counts whole."""
    first, last = _between(call)
    table = tables.usage_interval
    query = sa.select(table).where(table.c.usage_type.in_((SENT, RECEIVED)), table.c.ended > first, table.c.began < last)
    if call.get("type") is not None:
        query = query.where(table.c.usage_type == call["type"])
    if call.get("usageid"):
        query = query.where(table.c.resource_uuid == call["usageid"])
    return list_rows(call, query, table, _records, refs={"accountid": (tables.account, table.c.account_id)})


def _between(call: Call) -> tuple[float, float]:
    first, last = call["startdate"], call["enddate"]
    if last % DAY_S == 0:
        last += DAY_S
    if first >= last:
        raise Refused("Incorrect Date Range. Start date is after the end date")
    return first, last


def _records(tx: Tx, rows: Sequence[Row]) -> list[dict[str, Any]]:
    return [without_empty(answers.record(row, _names(tx, row))) for row in rows]


def _names(tx: Tx, row: Row) -> dict[str, Any]:
    account, domain = tx.get(tables.account, row.account_id), tx.get(tables.domain, row.domain_id)
    zone = tx.get(tables.zone, row.zone_id)
    return {
        "account": account.name if account else None,
        "accountid": account.uuid if account else None,
        "domain": domain.name if domain else None,
        "domainid": domain.uuid if domain else None,
        "zoneid": zone.uuid if zone else None,
    }


@handler("generateUsageRecords")
def generate_usage_records(call: Call) -> Reply:
    """Records grow as routers report; there is nothing that would have to be generated."""
    _between(call)
    return Success("usage records are kept up to date as routers report")


@handler("listUsageTypes")
def list_usage_types(call: Call) -> Reply:
    """CloudStack's types."""
    rows = [answers.usage_type(number) for number in answers.TYPES]
    return Rows(rows, len(rows))
