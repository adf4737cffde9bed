"""What a role says to its host and asks it, whichever connection happens to stand.

A notice is lost while the link is down: after a reconnection the host asks for a report, so nothing depends on it.
A question raises Unreachable then, and the role decides whether it asks again.
"""

from typing import TypeVar

from sysvm.basics.errors import Unreachable
from sysvm.wire.channel import AgentAskBody, AgentNoticeBody
from sysvm.wire.peer import Peer

T = TypeVar("T")


class Line:
    """The way to the host; survives reconnections."""

    def __init__(self) -> None:
        self._peer: Peer | None = None

    @property
    def is_up(self) -> bool:
        """Whether the host can be asked now."""
        return self._peer is not None and self._peer.is_open

    def carry_over(self, peer: Peer | None) -> None:
        """From now on everything goes over `peer`."""
        self._peer = peer

    async def ask(self, body: AgentAskBody, answer: type[T], *, seconds: float = 10.0) -> T:
        """The server's answer. Raises Refused, NotYet, Stale, Broken or Unreachable."""
        if self._peer is None:
            raise Unreachable("the host is not connected")
        return await self._peer.call(body, answer, seconds=seconds)

    async def notify(self, body: AgentNoticeBody) -> None:
        """Says something, when somebody listens."""
        if self._peer is None:
            return
        try:
            await self._peer.notify(body)
        except Unreachable:
            self._peer = None
