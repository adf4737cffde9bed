"""Small questions about callers that several nouns ask."""

from sysvm.api.call import ADMIN, RESOURCE_ADMIN, Caller
from sysvm.store.queries import callers
from sysvm.store.store import Row, Tx

ADMINS = (ADMIN, RESOURCE_ADMIN)


def is_admin(caller: Caller) -> bool:
    """Whether hosts and tags on the wire are shown."""
    return caller.role_type in ADMINS


def is_admins(tx: Tx, job: Row) -> bool:
    """Whether who made the job is shown them in its result, which is rendered once, for him."""
    maker = callers.by_id(tx, job.user_id)
    return maker is not None and maker.role_type in ADMINS
