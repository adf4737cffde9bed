"""The hosts that are linked to this server process.

A link is anything that can be asked (`Link`): a TLS peer, or a simulated host in the same process. Losing a link makes
waiting calls raise Unreachable; nothing is known about their outcome.
"""

from typing import Protocol, TypeVar

import msgspec

from sysvm.basics.errors import Elsewhere
from sysvm.wire.peer import Peer

T = TypeVar("T")


class Link(Protocol):
    """How to ask a host."""

    async def call(self, body: msgspec.Struct, answer: type[T], *, seconds: float = 20.0) -> T:
        """See wire.peer.Peer.call."""
        ...


class Links:
    """Host id -> link."""

    def __init__(self) -> None:
        self._links: dict[int, Link] = {}

    def attach(self, host_id: int, link: Link) -> Link | None:
        """The host is reached through `link` from now on; the link it replaces, if any."""
        old = self._links.get(host_id)
        self._links[host_id] = link
        return old

    def detach(self, host_id: int, link: Link) -> bool:
        """Forgets the link unless a newer one has taken its place; whether it did."""
        if self._links.get(host_id) is link:
            del self._links[host_id]
            return True
        return False

    def ids(self) -> frozenset[int]:
        """The hosts that are linked."""
        return frozenset(self._links)

    def keep(self, host_ids: frozenset[int]) -> None:
        """Ends the links of all other hosts."""
        for host_id in self._links.keys() - host_ids:
            self.drop(host_id)

    def drop(self, host_id: int) -> None:
        """Ends the host's link, if it has one here. A host whose certificate is good dials again."""
        link = self._links.pop(host_id, None)
        if isinstance(link, Peer):
            link.close()

    def has(self, host_id: int) -> bool:
        """Whether the host is linked to this server."""
        return host_id in self._links

    def to(self, host_id: int) -> Link:
        """The link of a host. Raises Elsewhere."""
        link = self._links.get(host_id)
        if link is None:
            raise Elsewhere(host_id)
        return link

    def __len__(self) -> int:
        return len(self._links)
