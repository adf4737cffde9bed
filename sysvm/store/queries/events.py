"""Events: what was done to whom by whom. Written in the transaction that they describe."""

from dataclasses import dataclass

from sysvm.basics.ids import Ids, SystemIds
from sysvm.store import tables
from sysvm.store.store import Tx

_ids: Ids = SystemIds()


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did it, and whose it is."""

    user_id: int
    account_id: int
    domain_id: int
    domain_path: str


SYSTEM = Actor(user_id=1, account_id=1, domain_id=1, domain_path="/1/")


@dataclass(frozen=True, slots=True)
class About:
    """What an event is about."""

    type: str = ""
    id: int | None = None
    uuid: str = ""
    name: str = ""


def record(
    tx: Tx,
    type_: str,
    description: str,
    *,
    actor: Actor = SYSTEM,
    about: About | None = None,
    level: str = "INFO",
    state: str = "Completed",
    parent: int | None = None,
) -> int:
    """Adds an event; its id chains the following ones of the same command."""
    about = about or About()
    return tx.insert(
        tables.event,
        uuid=_ids.uuid(),
        type=type_,
        level=level,
        state=state,
        description=description,
        user_id=actor.user_id,
        account_id=actor.account_id,
        domain_id=actor.domain_id,
        domain_path=actor.domain_path,
        parent_id=parent,
        resource_type=about.type,
        resource_id=about.id,
        resource_uuid=about.uuid,
        resource_name=about.name,
        created=tx.now,
    )
