"""Mail: letters (RFC 5322) and their way to a mail server (RFC 5321)."""

import re
import socket
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime

import aiosmtplib

from sysvm.basics.errors import Unreachable

TLS_PORT = 465  # TLS from the first byte (RFC 8314, 3.3)
SUBJECT_CHARS = 200
# What mail servers take without quoting, and no more: letters on both sides of one @, no blanks, no control characters.
ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where letters are handed in. With a `user` it is always under TLS, so that nobody else reads the password."""

    host: str
    port: int = TLS_PORT
    start_tls: bool = False
    user: str = ""
    password: str = field(default="", repr=False)
    timeout_s: float = 30.0


def parse_address(text: str) -> str:
    """One address. Raises ValueError."""
    address = text.strip()
    if not ADDRESS.fullmatch(address):
        raise ValueError(f"{address[:80]!r} is no mail address")
    return address


def parse_addresses(text: str) -> tuple[str, ...]:
    """The addresses of "a@example.com, b@example.org". Raises ValueError."""
    return tuple(map(parse_address, filter(str.strip, text.split(","))))


def letter(sender: str, to: tuple[str, ...], subject: str, body: str, *, id_: str, sent: float) -> EmailMessage:
    """A letter that a program writes by itself (RFC 3834). One with the same `id_` is the same letter to those who get it."""
    message = EmailMessage()
    message["From"] = sender
    message["To"] = ", ".join(to)
    message["Subject"] = " ".join(subject.split())[:SUBJECT_CHARS]
    message["Date"] = format_datetime(datetime.fromtimestamp(sent, UTC))
    message["Message-ID"] = f"<{id_}@{sender.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(body)
    return message


async def send(server: MailServer, message: EmailMessage) -> str:
    """Hands it in; says what the mail server will never take: the letter, or some of those who were to have it.

    Raises Unreachable when it was not taken, or nobody can be sure that it was, with the mail server's words.
    """
    place = f"mail server {server.host}:{server.port}"
    try:
        left_out, _ = await aiosmtplib.send(
            message, hostname=server.host, port=server.port, timeout=server.timeout_s, local_hostname=socket.gethostname(),
            use_tls=server.port == TLS_PORT, start_tls=server.port != TLS_PORT and (server.start_tls or bool(server.user)),
            username=server.user or None, password=server.password if server.user else None,
        )  # fmt: skip
    except (aiosmtplib.SMTPException, OSError, ValueError, OverflowError) as error:
        if isinstance(error, aiosmtplib.SMTPDataError) and error.code >= 500:
            return f"{place} refuses a letter: {_said(error)}"
        raise Unreachable(f"{place}: {_said(error)}") from error
    return "; ".join(f"{place} refuses {name}: {said.message}" for name, said in left_out.items())


def _said(error: Exception) -> str:
    match error:
        case aiosmtplib.SMTPRecipientsRefused(recipients=refused):
            return "; ".join(map(_said, refused))
        case aiosmtplib.SMTPResponseException(code=code, message=message):
            return f"{code} {message}"
    return str(error)
