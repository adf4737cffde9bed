"""Whose a thing is, as answers show it; and rows without what is not known."""

from typing import Any

from sysvm.store.store import Row


def owner(row: Row) -> dict[str, Any]:
    """Account, domain and project of a row that carries their names (account_name, domain_uuid, ...)."""
    answer: dict[str, Any] = {}
    add_owner(answer, row)
    return answer


def add_owner(answer: dict[str, Any], row: Row) -> None:
    """The same, into an answer."""
    if row.project_uuid is None:
        answer["account"] = row.account_name
    else:
        answer["projectid"] = row.project_uuid
        answer["project"] = row.project_name
    answer["domainid"] = row.domain_uuid
    answer["domain"] = row.domain_name
    answer["domainpath"] = row.domain_text


def without_empty(answer: dict[str, Any]) -> dict[str, Any]:
    """The answer, rid of fields that are None: taking the few out costs half of what a copy of the others does."""
    for name in [name for name, value in answer.items() if value is None]:
        del answer[name]
    return answer
