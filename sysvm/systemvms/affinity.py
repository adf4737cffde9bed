"""Affinity groups: which hosts a guest may be on, from where the other guests of its groups are. Pure.

Strict groups forbid hosts; the others only prefer some. A guest that is stopped forbids nothing to others, though its volumes
may bind it to a host: whoever starts first has the host. Where the others are is told in the transaction that chooses a host,
so two guests that start at once do not both take the last one.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """What a type of group means."""

    together: bool
    strict: bool


KINDS = {
    "host affinity": Kind(together=True, strict=True),
    "host anti-affinity": Kind(together=False, strict=True),
    "non-strict host affinity": Kind(together=True, strict=False),
    "non-strict host anti-affinity": Kind(together=False, strict=False),
}


@dataclass(frozen=True, slots=True)
class Fellows:
    """The other guests of one group."""

    kind: Kind
    on: frozenset[int]  # hosts that they run on, or come to
    kept_on: frozenset[int] = frozenset()  # hosts that hold the volumes of those that are stopped


@dataclass(frozen=True, slots=True)
class Near:
    """What groups say about hosts."""

    never: frozenset[int] = frozenset()
    only: frozenset[int] | None = None  # None: any
    rather_not: frozenset[int] = frozenset()
    rather: frozenset[int] = frozenset()

    def allows(self, host_id: int) -> bool:
        """Whether the guest may be on that host."""
        return host_id not in self.never and (self.only is None or host_id in self.only)

    def taste(self, host_id: int) -> tuple[bool, bool]:
        """Greater is better."""
        return host_id in self.rather, host_id not in self.rather_not


FREE = Near()


def near(groups: Iterable[Fellows]) -> Near:
    """What all groups of a guest say together."""
    never: frozenset[int] = frozenset()
    only: frozenset[int] | None = None
    rather_not: frozenset[int] = frozenset()
    rather: frozenset[int] = frozenset()
    for group in groups:
        if not group.kind.together:
            never |= group.on if group.kind.strict else frozenset()
            rather_not |= group.on | group.kept_on
            continue
        if group.kind.strict and group.on:
            only = group.on if only is None else only & group.on
        rather |= group.on or group.kept_on
    return Near(never, only, rather_not, rather)
