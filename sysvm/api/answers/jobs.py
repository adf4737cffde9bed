"""Jobs as answers show them."""

from typing import Any

from sysvm.api import catalogue
from sysvm.api.answers.times import stamp
from sysvm.store.queries import jobs
from sysvm.store.store import Row


def job_answer(row: Row, result: Any) -> dict[str, Any]:
    """The order matters: a script of CloudStack's takes `jobstatus` as the 7th word of the text."""
    command = catalogue.commands().get(row.command)
    answer: dict[str, Any] = {
        "accountid": row.account_uuid,
        "account": row.account_name,
        "domainid": row.domain_uuid,
        "domainpath": row.domain_text,
        "userid": row.user_uuid,
        "cmd": command.java_class if command else row.command,
        "jobstatus": row.status,
        "jobprocstatus": 0,
        "jobresultcode": row.result_code,
        "created": stamp(row.created),
        "jobid": row.uuid,
    }
    if row.status != jobs.PENDING:
        answer |= {"jobresulttype": "object", "jobresult": result, "completed": stamp(row.completed)}
    if row.instance_uuid:
        answer |= {"jobinstancetype": row.instance_type, "jobinstanceid": row.instance_uuid}
    return answer
