"""What a finished job answers: exactly one key on success, made by the renderer of its command."""

import json
from typing import Any

from sysvm.api import catalogue, envelopes, handlers
from sysvm.basics.ids import SystemIds
from sysvm.store.queries import jobs, keys
from sysvm.store.secrets import Vault
from sysvm.store.store import Row, Tx

SEALED = "sealed"

_vault: list[Vault] = []


def register(vault: Vault) -> None:
    """From now on jobs are rendered by the API's renderers; results that hold a secret are sealed."""

    def render(tx: Tx, job: Row) -> dict[str, Any]:
        content = of_job(tx, job)
        return {SEALED: vault.seal(json.dumps(content))} if job.secret else content

    _vault[:] = [vault]
    jobs.on_finish(render)


def open_secret(sealed: str) -> str:
    """The text of a sealed column, for the renderer of a job whose result is a secret."""
    return _vault[0].open(sealed)


def ticket_key(tx: Tx) -> str:
    """What addresses to download from are signed with, for the renderer of a job that prepares one."""
    return keys.ticket_key(tx, _vault[0], SystemIds())


def of_job(tx: Tx, job: Row) -> dict[str, Any]:
    """The result of a job that has come to a good end."""
    command = catalogue.commands().get(job.command)
    render = handlers.render(job.command)
    if command is None or render is None:
        return {"success": True}
    found: dict[str, Any] = envelopes.without_nulls(render(tx, job))
    if command.result == "success":
        return {"success": True, **found}
    return {command.result: found}


def opened(text: str | None, vault: Vault) -> Any:
    """The stored result as the caller may read it."""
    if text is None:
        return None
    content = json.loads(text)
    return json.loads(vault.open(content[SEALED])) if set(content) == {SEALED} else content
