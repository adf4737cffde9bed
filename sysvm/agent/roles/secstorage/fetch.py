"""One answer of a source: name resolved once, addresses judged, connected to exactly those, redirects followed by hand.

aiohttp is given a resolver that knows one name and its judged addresses, so nothing between the judgement and the
connection asks again; Host header and SNI keep the name. Bodies come as they are sent: no decompression on the way.
Not here: retries, ranges, files.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from sysvm.agent.roles.secstorage.addresses import Gate
from sysvm.agent.roles.secstorage.source import Source, follow
from sysvm.basics.errors import Refused

MAX_REDIRECTS = 8
# When a connection breaks, aiohttp drops what nobody has taken out of its buffer: that much (twice) is fetched again.
READ_BUFFER = 256 * 1024
CONNECT_S = 20.0
ANSWER_S = 60.0
_REDIRECTS = (301, 302, 303, 307, 308)
_HEADERS = {"Accept-Encoding": "identity", "User-Agent": "sysvm"}

Resolve = Callable[[str, int], Awaitable[list[str]]]


class SourceFailed(Exception):
    """The source did not answer, or not as HTTP wants; worth another try."""


async def resolve(host: str, port: int) -> list[str]:
    """The addresses of a name, by the system's resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@dataclass(frozen=True, slots=True)
class Way:
    """How sources are reached."""

    gate: Gate
    tls: ssl.SSLContext = field(default_factory=ssl.create_default_context)
    proxy: str | None = None
    resolve: Resolve = resolve


class _Judged(AbstractResolver):
    """Answers with addresses that have been judged already."""

    def __init__(self, addresses: list[str]) -> None:
        self._addresses = addresses

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in self._addresses
        ]

    async def close(self) -> None:
        return


@asynccontextmanager
async def opened(source: Source, headers: dict[str, str], way: Way) -> AsyncIterator[aiohttp.ClientResponse]:
    """The answer after all redirects. Raises Refused (never again) or SourceFailed (again, later)."""
    for _ in range(MAX_REDIRECTS + 1):
        async with _session(await judged(source, way), way) as session:
            response = await _ask(session, source, headers, way)
            async with response:
                location = response.headers.get("Location")
                if response.status not in _REDIRECTS or location is None:
                    yield response
                    return
        source = follow(source, location)
    raise Refused(f"the source redirects more than {MAX_REDIRECTS} times")


async def judged(source: Source, way: Way) -> list[str]:
    """The addresses to connect to; all of them are allowed."""
    if way.proxy is not None and not _is_address(source.host):
        return []
    try:
        addresses = await way.resolve(source.host, source.port)
    except OSError as error:
        raise SourceFailed(f"the name {source.host} is not known here: {error}") from error
    for address in addresses:
        if why := way.gate.objection(address):
            raise Refused(f"nothing is fetched from {source.host}: {why}")
    if not addresses:
        raise SourceFailed(f"the name {source.host} has no address")
    return addresses


def _is_address(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdigit()


def _session(addresses: list[str], way: Way) -> aiohttp.ClientSession:
    # With a proxy it is the proxy's name that aiohttp resolves, by the system.
    resolver = _Judged(addresses) if way.proxy is None else None
    connector = aiohttp.TCPConnector(resolver=resolver, use_dns_cache=False, ssl=way.tls, force_close=True)
    return aiohttp.ClientSession(
        connector=connector,
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
        read_bufsize=READ_BUFFER,
    )


async def _ask(session: aiohttp.ClientSession, source: Source, headers: dict[str, str], way: Way) -> aiohttp.ClientResponse:
    where = URL(source.url, encoded=True)
    try:
        async with asyncio.timeout(ANSWER_S):
            return await session.get(where, headers={**_HEADERS, **headers}, allow_redirects=False, proxy=way.proxy)
    except aiohttp.ClientConnectorCertificateError as error:
        raise Refused(f"the certificate of {source.host} is not trusted here: {error.certificate_error}") from error
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        # Of an answer that is none aiohttp shows every byte.
        what = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise SourceFailed(f"{source.host} does not answer: {what}") from error
