"""Where peers were last seen: told by the incarnation that ends to the one that comes, in the network namespace that they share.

With that the one that comes shakes hands with the peers itself, instead of waiting until they miss an answer, which takes them
15 seconds. What is told is a hint and nothing else: who is greeted has to show its key. Nobody listens where nobody comes, and
then nobody is told.

Races: one datagram waits in the kernel until it is read, whoever has ended meanwhile. One that comes too late is never read.
"""

import contextlib
import socket

import msgspec

from sysvm.basics.log import get_logger

_NAME = "\0sysvm-wireguard"
_TOGETHER = 500  # peers in one datagram
_MOST = 1 << 17
_words = msgspec.json.Decoder(dict[str, str])
log = get_logger()


class Whereabouts:
    """One end of it: the one that listens, or the one that tells."""

    def __init__(self, name: str = _NAME) -> None:
        self._name = name
        self._handle: socket.socket | None = None

    def listen(self) -> None:
        """From now on what is told is kept; not where somebody else listens, for a hint is no reason to fail."""
        if self._handle is not None:
            return
        handle = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            handle.bind(self._name)
        except OSError as error:
            handle.close()
            log.info("whereabouts_not_heard", why=str(error))
        else:
            self._handle = handle

    def heard(self) -> dict[str, str]:
        """All that was told, key -> endpoint; nobody listens any more."""
        found: dict[str, str] = {}
        if self._handle is None:
            return found
        with self._handle as handle, contextlib.suppress(BlockingIOError):
            while True:
                with contextlib.suppress(msgspec.DecodeError):
                    found |= _words.decode(handle.recv(_MOST))
        self._handle = None
        return found

    def tell(self, known: dict[str, str]) -> None:
        """Whoever listens knows it; the rest of it is left where somebody does not listen fast enough."""
        pairs = list(known.items())
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as handle, contextlib.suppress(OSError):
            for at in range(0, len(pairs), _TOGETHER):
                handle.sendto(msgspec.json.encode(dict(pairs[at : at + _TOGETHER])), self._name)
