"""Small questions about callers that several nouns ask."""

from sysvm.api.call import RESOURCE_ADMIN, Caller


def is_admin(caller: Caller) -> bool:
    """Whether hosts and tags on the wire are shown."""
    return caller.is_root or caller.role_type == RESOURCE_ADMIN
