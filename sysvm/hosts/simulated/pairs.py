"""Pairs of simulated routers: which of them serves, as keepalived in real ones agrees among them.

Whoever serves goes on as long as it runs. When it ends the other one notices after three advertisements. The network is as good
as its routers' ports: a pair that is cut in two is not simulated.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from sysvm.wire.redundancy import RedundantState

TAKE_OVER_S = 3.0
Place = tuple[str, int]  # machine, incarnation


@dataclass(frozen=True, slots=True)
class Member:
    """One router of a pair."""

    place: Place
    runs: Callable[[], bool]
    begins: Callable[[], None]  # it serves from now on


@dataclass(slots=True)
class Pairs:
    """All pairs of a world, by the network of their guests."""

    members: dict[str, dict[Place, Member]] = field(default_factory=dict)
    serving: dict[str, Place] = field(default_factory=dict)

    def join(self, network: str, member: Member, *, serves: bool) -> None:
        """One more; `serves`: it has been alone there, and has what the one that serves has."""
        self.members.setdefault(network, {})[member.place] = member
        if serves and self._serving(network) is None:
            self.serving[network] = member.place

    def end(self, network: str, place: Place) -> None:
        """It does not run; when it comes back it waits behind the other one."""
        if self.serving.get(network) == place:
            del self.serving[network]
        if (member := self.members.get(network, {}).pop(place, None)) is not None:
            self.members[network][place] = member

    def leave(self, place: Place) -> None:
        """It is gone."""
        for members in self.members.values():
            members.pop(place, None)

    def elect(self, network: str) -> None:
        """When nobody serves, one of those that run does."""
        if self._serving(network) is not None:
            return
        chosen = next((each for each in self.members.get(network, {}).values() if each.runs()), None)
        if chosen is None:
            self.serving.pop(network, None)
            return
        self.serving[network] = chosen.place
        chosen.begins()

    def state(self, network: str, place: Place) -> RedundantState:
        """What keepalived would say there."""
        serves = self.serving.get(network) == place and self._serving(network) is not None
        return RedundantState.PRIMARY if serves else RedundantState.BACKUP

    def _serving(self, network: str) -> Member | None:
        place = self.serving.get(network)
        member = self.members.get(network, {}).get(place) if place is not None else None
        return member if member is not None and member.runs() else None
