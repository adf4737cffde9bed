"""Where things are: the cache that images are built into, and the recipes they are built from.

The cache is content-addressed, so everything in it may be deleted at any time by hand; it is built again.
"""

import os
from pathlib import Path

RECIPES = Path(__file__).resolve().parents[2] / "images"
SOURCE = Path(__file__).resolve().parents[1]

# Every time stamp in an image is this one (2025-01-01), so that equal content gives equal bytes.
EPOCH = 1735689600


def cache_folder() -> Path:
    """`SYSVM_CACHE`, or /var/cache/sysvm."""
    return Path(os.environ.get("SYSVM_CACHE", "/var/cache/sysvm"))


def names_in(listing: Path) -> tuple[str, ...]:
    """The first word of each line of a checked-in list, without comments and empty lines."""
    lines = (line.split("#", 1)[0].split() for line in listing.read_text().splitlines())
    return tuple(words[0] for words in lines if words)
