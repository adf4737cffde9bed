"""A mail server in memory, for stories."""

from email.message import EmailMessage

from sysvm.basics.errors import Unreachable
from sysvm.basics.mail import MailServer


class Mailbox:
    """Keeps what is handed in. `away`: why nothing is taken now; `refuses`: what it says of letters with such a subject."""

    def __init__(self) -> None:
        self.letters: list[EmailMessage] = []
        self.servers: list[MailServer] = []
        self.away = ""
        self.refuses: dict[str, str] = {}

    async def __call__(self, server: MailServer, message: EmailMessage) -> str:
        self.servers.append(server)
        if self.away:
            raise Unreachable(self.away)
        said = self.refuses.get(str(message["Subject"]), "")
        if not said:
            self.letters.append(message)
        return said

    @property
    def subjects(self) -> list[str]:
        """Of all letters, as they came."""
        return [str(message["Subject"]) for message in self.letters]
