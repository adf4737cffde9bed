"""What every turn may use. Time, ids, keys, links and mail come in through here, and through nowhere else."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from email.message import EmailMessage

from sysvm.basics import mail
from sysvm.basics.clock import Clock
from sysvm.basics.ids import Ids
from sysvm.basics.mail import MailServer
from sysvm.hub.links import Links
from sysvm.store.queries.keys import Keys
from sysvm.store.store import Store
from sysvm.store.together import Together

Post = Callable[[MailServer, EmailMessage], Awaitable[str]]  # see basics/mail.py: send


@dataclass(frozen=True, slots=True)
class Context:
    """The doors of the orchestrator."""

    store: Store
    clock: Clock
    ids: Ids
    links: Links
    keys: Keys
    session: str
    mail: Post = mail.send
    together: Together = field(init=False)  # the store, for what many turns do at the same moment

    def __post_init__(self) -> None:
        object.__setattr__(self, "together", Together(self.store))
