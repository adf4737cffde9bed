"""Which images go from one image store to which others. Pure.

It does not ask how large stores are, only what is on them: where an image does not fit, its copy fails and says so.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Image:
    """An image or a snapshot on the store that is relieved."""

    id: tuple[str, int]  # of what kind, and which
    size: int


@dataclass(frozen=True, slots=True)
class Move:
    """An image, and the store that it goes to."""

    image: tuple[str, int]
    store: int


def complete(images: Iterable[Image], used: Mapping[int, int]) -> tuple[Move, ...]:
    """All of them; the largest first, each to the store with the fewest bytes. `used`: bytes by store."""
    filled, moves = dict(used), []
    for image in _largest_first(images):
        store = _emptiest(filled)
        filled[store] += image.size
        moves.append(Move(image.id, store))
    return tuple(moves)


def balance(images: Iterable[Image], used: Mapping[int, int]) -> tuple[Move, ...]:
    """As many as make the stores more alike: none leaves for a store that would then hold more than the source."""
    filled, moves = dict(used), []
    images = _largest_first(images)
    left = sum(image.size for image in images)
    for image in images:
        store = _emptiest(filled)
        if image.size and filled[store] + image.size <= left - image.size:
            filled[store] += image.size
            left -= image.size
            moves.append(Move(image.id, store))
    return tuple(moves)


def _largest_first(images: Iterable[Image]) -> list[Image]:
    return sorted(images, key=lambda image: (-image.size, image.id))


def _emptiest(used: Mapping[int, int]) -> int:
    return min(used, key=lambda store: (used[store], store))
