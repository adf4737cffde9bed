"""Whose a thing is, as answers show it; and rows without what is not known."""

from typing import Any

from sysvm.store.store import Row


def owner(row: Row) -> dict[str, Any]:
    """Account, domain and project of a row that carries their names (account_name, domain_uuid, ...)."""
    answer = {
        "account": row.account_name,
        "domainid": row.domain_uuid,
        "domain": row.domain_name,
        "domainpath": row.domain_text,
    }
    if row.project_uuid is None:
        return answer
    project = {"projectid": row.project_uuid, "project": row.project_name}
    return {**project, "domainid": row.domain_uuid, "domain": row.domain_name, "domainpath": row.domain_text}


def without_empty(answer: dict[str, Any]) -> dict[str, Any]:
    """The answer without fields that are None."""
    return {name: value for name, value in answer.items() if value is not None}
