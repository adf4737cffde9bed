"""Asynchronous jobs as callers see them."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from sysvm.api import results
from sysvm.api.answers.jobs import job_answer
from sysvm.api.call import Call, Flat, Rows
from sysvm.api.handlers import handler
from sysvm.api.listing import list_rows
from sysvm.store import tables
from sysvm.store.queries import jobs
from sysvm.store.store import Row, Tx


@handler("queryAsyncJobResult")
def query_async_job_result(call: Call) -> Flat:
    """How a job stands; HTTP 200 also when it has failed."""
    job = call.need(tables.job, "jobid")
    found = call.tx.all(_with_names(sa.select(tables.job).where(tables.job.c.id == job.id)))
    return Flat(_answers(call, found)[0])


@handler("listAsyncJobs")
def list_async_jobs(call: Call) -> Rows:
    """Jobs of the last day; unlike other lists, by default all that the caller may see and that are not over."""
    statement = sa.select(tables.job)
    if "startdate" in call:
        statement = statement.where(tables.job.c.created >= call["startdate"])
    else:
        statement = statement.where(tables.job.c.status == jobs.PENDING)

    def answer(_tx: Tx, rows: Sequence[Row]) -> list[dict[str, Any]]:
        return _answers(call, rows)

    return list_rows(call, _with_names(statement), tables.job, answer, keyword=(tables.job.c.command,))


def _with_names(statement: sa.Select[Any]) -> sa.Select[Any]:
    job, user, account, domain = tables.job, tables.user, tables.account, tables.domain
    return (
        statement.add_columns(
            user.c.uuid.label("user_uuid"),
            account.c.uuid.label("account_uuid"),
            account.c.name.label("account_name"),
            domain.c.uuid.label("domain_uuid"),
            domain.c.path.label("domain_text"),
        )
        .join(user, user.c.id == job.c.user_id)
        .join(account, account.c.id == job.c.account_id)
        .join(domain, domain.c.id == job.c.domain_id)
    )


def _answers(call: Call, rows: Sequence[Row]) -> list[dict[str, Any]]:
    return [job_answer(row, results.opened(row.result, call.vault)) for row in rows]
