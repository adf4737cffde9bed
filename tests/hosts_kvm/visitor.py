"""A console proxy as the relay sees it: certificates, grants, and a connection with one line and its answer."""

import asyncio
import ssl
from dataclasses import dataclass, field
from pathlib import Path

import trustme

from sysvm.basics.clock import SystemClock
from sysvm.hosts.layout import Layout
from sysvm.hosts.system import netns
from sysvm.wire.documents import HostDocument
from sysvm.wire.grants import Grant, new_grant_key, public_grant_key, sign_grant
from tests.hosts.progress import until

PORT = 5999


@dataclass
class Cloud:
    """The server's keys, and what it gives to the host."""

    layout: Layout
    authority: trustme.CA = field(default_factory=trustme.CA)
    key: bytes = field(default_factory=new_grant_key)

    def certify_host(self) -> str:
        """The host has a new certificate; its serial number."""
        cert = self.authority.issue_cert("127.0.0.1")
        self.layout.tls.mkdir(parents=True, exist_ok=True)
        _put(self.layout.tls / "ca.pem", self.authority.cert_pem.bytes())
        _put(self.layout.tls / "key.pem", cert.private_key_pem.bytes())
        _put(self.layout.tls / "cert.pem", cert.cert_chain_pems[0].bytes())
        return ssl.PEM_cert_to_DER_cert(cert.cert_chain_pems[0].bytes().decode()).hex()

    @property
    def document(self) -> HostDocument:
        """The host's document."""
        return HostDocument(
            host="h", cloud="c", management_address="127.0.0.1/8", relay_port=PORT, grant_key=public_grant_key(self.key)
        )

    def grant(self, machine: str, *, kind: str = "vnc", seconds: float = 60, session: str = "s") -> str:
        """A grant for a machine."""
        expires = SystemClock().now() + seconds
        return sign_grant(self.key, Grant(guest="g", machine=machine, kind=kind, session=session, expires=expires))

    def context(self, authority: trustme.CA | None = None) -> ssl.SSLContext:
        """TLS of a proxy whose certificate is of `authority`."""
        context = ssl.create_default_context(cadata=self.authority.cert_pem.bytes().decode())
        (authority or self.authority).issue_cert("proxy.test").configure_cert(context)
        return context

    async def connect(self, context: ssl.SSLContext | None = None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A TLS connection to the relay, from inside the host's namespace."""
        line = await netns.connect_in(self.layout.namespace, "127.0.0.1", PORT)
        return await asyncio.open_connection(sock=line, ssl=context or self.context(), server_hostname="127.0.0.1")

    async def show(self, grant: str) -> tuple[str, asyncio.StreamReader, asyncio.StreamWriter]:
        """The relay's answer to a grant, and the connection."""
        reader, writer = await self.connect()
        writer.write(f"{grant}\n".encode())
        return (await reader.readline()).decode().strip(), reader, writer

    async def answer(self, grant: str) -> str:
        """The relay's answer alone."""
        answer, _, writer = await self.show(grant)
        writer.close()
        return answer

    async def wait_for_relay(self) -> None:
        """It listens."""
        async for _ in until(SystemClock(), "the relay listens"):
            try:
                (await netns.connect_in(self.layout.namespace, "127.0.0.1", PORT)).close()
            except OSError:
                continue
            return


def _put(file: Path, content: bytes) -> None:
    fresh = file.with_suffix(".new")
    fresh.write_bytes(content)
    fresh.rename(file)
