"""What every turn may use. Time, ids, keys and links come in through here, and through nowhere else."""

from dataclasses import dataclass, field

from sysvm.basics.clock import Clock
from sysvm.basics.ids import Ids
from sysvm.hub.links import Links
from sysvm.store.queries.keys import Keys
from sysvm.store.store import Store
from sysvm.store.together import Together


@dataclass(frozen=True, slots=True)
class Context:
    """The doors of the orchestrator."""

    store: Store
    clock: Clock
    ids: Ids
    links: Links
    keys: Keys
    session: str
    together: Together = field(init=False)  # the store, for what many turns do at the same moment

    def __post_init__(self) -> None:
        object.__setattr__(self, "together", Together(self.store))
