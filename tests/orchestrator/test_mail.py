"""Letters to a real mail server (aiosmtpd), plain, under TLS and with a login; and what it says when it takes them not."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword

from sysvm.basics import mail
from sysvm.basics.errors import Unreachable
from sysvm.basics.mail import MailServer, letter, parse_addresses, send

MESSAGE = letter(
    "cloud@example.com", ("a@example.com", "b@example.com"), "Host h\r\nis away", "Look.\n.\nNow.", id_="1", sent=0.0
)


@dataclass
class Office:
    """What a mail server was handed; what it answers to recipients and data, if not 250."""

    letters: list[Envelope] = field(default_factory=list)
    logins: list[tuple[str, str]] = field(default_factory=list)
    recipients: dict[str, str] = field(default_factory=dict)
    data: str = ""

    async def handle_RCPT(self, _server: Any, _session: Any, envelope: Envelope, address: str, _options: Any) -> str:  # noqa: N802
        if address not in self.recipients:
            envelope.rcpt_tos.append(address)
        return self.recipients.get(address, "250 OK")

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Envelope) -> str:  # noqa: N802
        if not self.data:
            self.letters.append(envelope)
        return self.data or "250 OK"

    def login(self, _server: Any, _session: Any, _envelope: Any, _mechanism: str, data: LoginPassword) -> AuthResult:
        """Takes the right password only."""
        self.logins.append((data.login.decode(), data.password.decode()))
        return AuthResult(success=data.password == b"right", handled=False)


@contextmanager
def serving(office: Office, port: int = 0, **more: Any) -> Iterator[int]:
    """Its port."""
    if not port:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
    controller = Controller(office, hostname="127.0.0.1", port=port, **more)
    controller.start()
    try:
        yield port
    finally:
        controller.stop()


@pytest.fixture
def office() -> Office:
    return Office()


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """What a mail server of 127.0.0.1 shows; its authority is known to this machine."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


async def test_a_letter_arrives_as_it_was_written(office: Office):
    """In one line of subject, its dots as they were."""
    with serving(office) as port:
        assert "" == await send(MailServer("127.0.0.1", port), MESSAGE)
    (got,) = office.letters
    assert ("cloud@example.com", ["a@example.com", "b@example.com"]) == (got.mail_from, got.rcpt_tos)
    text = bytes(got.content or b"").decode()
    assert "Subject: Host h is away\r\n" in text
    assert "Message-ID: <1@example.com>\r\n" in text
    assert text.endswith("\r\n\r\nLook.\r\n.\r\nNow.\r\n")


async def test_under_tls_from_the_first_byte(office: Office, tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch):
    """As at port 465; here it is another port that has this meaning."""
    with serving(office, ssl_context=tls) as port:
        monkeypatch.setattr(mail, "TLS_PORT", port)
        assert "" == await send(MailServer("127.0.0.1", port), MESSAGE)
    assert 1 == len(office.letters)


async def test_a_login_is_always_under_tls(office: Office, tls: ssl.SSLContext):
    """Also when nobody has asked for STARTTLS."""
    with serving(office, tls_context=tls, authenticator=office.login, auth_required=True) as port:
        assert "" == await send(MailServer("127.0.0.1", port, user="u", password="right"), MESSAGE)
        with pytest.raises(Unreachable, match="535"):
            await send(MailServer("127.0.0.1", port, user="u", password="wrong"), MESSAGE)
    with (
        serving(office, authenticator=office.login, auth_require_tls=False) as port,
        pytest.raises(Unreachable, match="STARTTLS"),
    ):
        await send(MailServer("127.0.0.1", port, user="u", password="secret"), MESSAGE)
    assert {("u", "right"), ("u", "wrong")} == set(office.logins)


async def test_a_certificate_of_somebody_else_is_no_mail_server(
    office: Office, tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
):
    """An authority that this machine does not know."""
    monkeypatch.delenv("SSL_CERT_FILE")
    with serving(office, tls_context=tls) as port, pytest.raises(Unreachable, match=r"(?i)certificate"):
        await send(MailServer("127.0.0.1", port, start_tls=True), MESSAGE)
    assert not office.letters


async def test_nobody_there_and_nobody_who_speaks():
    """Both can be tried again."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        with pytest.raises(Unreachable, match=f"mail server 127.0.0.1:{port}"):
            await send(MailServer("127.0.0.1", port, timeout_s=0.2), MESSAGE)
    with pytest.raises(Unreachable, match=f"mail server 127.0.0.1:{port}"):
        await send(MailServer("127.0.0.1", port), MESSAGE)


async def test_who_cannot_have_it_is_named_and_the_others_have_it(office: Office):
    """Unless nobody can have it: then it is tried again."""
    office.recipients = {"b@example.com": "550 no such mailbox"}
    with serving(office) as port:
        said = await send(MailServer("127.0.0.1", port), MESSAGE)
        assert f"mail server 127.0.0.1:{port} refuses b@example.com: no such mailbox" == said
        assert ["a@example.com"] == office.letters[0].rcpt_tos
        office.recipients["a@example.com"] = "450 later"
        with pytest.raises(Unreachable, match="450 later"):
            await send(MailServer("127.0.0.1", port), MESSAGE)


async def test_a_letter_that_is_refused_for_ever_and_one_for_now(office: Office):
    """The first is told, the second is tried again."""
    with serving(office) as port:
        office.data = "554 looks like spam"
        assert "refuses a letter: 554 looks like spam" in await send(MailServer("127.0.0.1", port), MESSAGE)
        office.data = "452 no room"
        with pytest.raises(Unreachable, match="452 no room"):
            await send(MailServer("127.0.0.1", port), MESSAGE)


def test_addresses():
    """Plain ones, separated by commas."""
    assert ("a@example.com", "b.c+d@mail.example.org") == parse_addresses(" a@example.com , b.c+d@mail.example.org,")
    assert () == parse_addresses("")


@pytest.mark.parametrize(
    "text", ["nobody", "a@b@c", "a b@example.com", "a@example.com\nBcc: x@example.com", "<a@example.com>", "a@", "@b", "a@b..c"]
)
def test_no_addresses(text: str):
    """Nothing gets into a header by way of an address."""
    with pytest.raises(ValueError, match="no mail address"):
        parse_addresses(text)
