"""What a handler needs done before its transaction: work that takes long or has to wait.

`before` functions read the store, and write nothing that does not end by itself (a question to an agent has a deadline): the
handler's transaction must check again what it relies on.
"""

from dataclasses import dataclass
from typing import Any

from sysvm.api.call import Caller
from sysvm.api.passwords import Passwords
from sysvm.store.secrets import Vault
from sysvm.store.store import Store


@dataclass(frozen=True, slots=True)
class Before:
    """What such a function gets."""

    caller: Caller
    params: dict[str, Any]
    store: Store
    vault: Vault
    passwords: Passwords


async def hash_password(before: Before) -> str | None:
    """The hash of parameter `password`, for `call.extra`."""
    password = before.params.get("password")
    return await before.passwords.hash(password) if password else None
