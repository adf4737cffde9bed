"""A listening port whose certificate, or whole address, can be changed without cutting a session.

The socket that listens belongs to the door. What accepts from it is an *acceptor* on a duplicate of that socket: another
certificate means another acceptor, started before the old one stops, so that no knock is lost, and connections that the old
one has accepted live on. This needs nothing of the TLS library, and a failed change leaves the old acceptor in place.
"""

import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Protocol

BACKLOG = 512
_KEEPALIVE = {socket.TCP_KEEPIDLE: 30, socket.TCP_KEEPINTVL: 15, socket.TCP_KEEPCNT: 4}


class Acceptor(Protocol):
    """Something that accepts connections until it is closed; closing cuts none of them."""

    async def close(self) -> None:
        """No more connections from here."""
        ...


Accept = Callable[[socket.socket, ssl.SSLContext | None], Awaitable[Acceptor]]


def listen(address: str, port: int) -> socket.socket:
    """A listening socket. Raises OSError when somebody else has the port."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        notice_death(listening)
        listening.setblocking(False)
        listening.bind((address, port))
        listening.listen(BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening


def notice_death(connection: socket.socket) -> None:
    """A peer that vanished without a word is noticed within about a minute and a half, by the kernel."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEPALIVE.items():
        connection.setsockopt(socket.IPPROTO_TCP, option, value)


class Door:
    """One service's port."""

    def __init__(self, accept: Accept) -> None:
        self._accept = accept
        self._place: tuple[str, int] | None = None
        self._socket: socket.socket | None = None
        self._acceptor: Acceptor | None = None

    @property
    def port(self) -> int:
        """The port that it listens on; 0 when it does not."""
        return int(self._socket.getsockname()[1]) if self._socket is not None else 0

    async def open(self, address: str, port: int, context: ssl.SSLContext | None) -> None:
        """Listens there, with that certificate, afterwards; raises OSError and leaves all as it was when it cannot."""
        moved = (address, port) != self._place
        listening = listen(address, port) if moved or self._socket is None else self._socket
        acceptor = await self._accept(listening.dup(), context)
        if self._acceptor is not None:
            await self._acceptor.close()
        if self._socket is not None and self._socket is not listening:
            self._socket.close()
        self._place, self._socket, self._acceptor = (address, port), listening, acceptor

    async def close(self) -> None:
        """Takes no more connections."""
        if self._acceptor is not None:
            await self._acceptor.close()
        if self._socket is not None:
            self._socket.close()
        self._place = self._socket = self._acceptor = None
