"""What every turn may use. Time, ids, keys and links come in through here, and through nowhere else."""

from dataclasses import dataclass

from sysvm.basics.clock import Clock
from sysvm.basics.ids import Ids
from sysvm.hub.links import Links
from sysvm.store.queries.keys import Keys
from sysvm.store.store import Store


@dataclass(frozen=True, slots=True)
class Context:
    """The doors of the orchestrator."""

    store: Store
    clock: Clock
    ids: Ids
    links: Links
    keys: Keys
    session: str
