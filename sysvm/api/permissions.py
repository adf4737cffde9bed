"""Who may call what: the rules of the caller's role, then, for the default roles and their copies, what the catalogue says
about the role's type. Pure."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from sysvm.api.call import ADMIN, DOMAIN_ADMIN, RESOURCE_ADMIN, USER, Caller
from sysvm.api.catalogue import Command

ROOT_ROLE = 1  # may do everything, whatever its rules say
ALLOW = "allow"
ALWAYS = frozenset({"login", "logout", "listApis", "listCapabilities"})  # to be there, and to learn what one may do
BY_CATALOGUE = {
    "anyone": frozenset({ADMIN, RESOURCE_ADMIN, DOMAIN_ADMIN, USER}),
    "all": frozenset({ADMIN, RESOURCE_ADMIN, DOMAIN_ADMIN, USER}),
    "domain": frozenset({ADMIN, DOMAIN_ADMIN}),
    "admin": frozenset({ADMIN}),
}


def allowed(caller: Caller, command: Command, rules: Sequence[tuple[Any, ...]]) -> bool:
    """Whether the caller's role may call the command: the first rule that matches decides. What no rule names is denied, but
    for the default roles and their copies, where the catalogue decides."""
    if caller.role_id == ROOT_ROLE:
        return True
    for rule, permission in rules:
        if _pattern(rule).fullmatch(command.name):
            return bool(permission.lower() == ALLOW)
    if not caller.role_by_type:
        return command.name in ALWAYS
    return caller.role_type in BY_CATALOGUE[command.roles]


@lru_cache(maxsize=4096)
def _pattern(rule: str) -> re.Pattern[str]:
    """`list*` and the like."""
    return re.compile(re.escape(rule).replace(r"\*", ".*"), re.IGNORECASE)
