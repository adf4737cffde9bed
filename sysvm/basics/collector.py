"""Python's collector of cycles, kept out of the way while a program is loaded and while it works.

Importing makes some 100,000 objects that stay for good. The collector looks at them again and again while they are made,
which is a fifth of the time that loading takes, and once more at each of its large rounds afterwards. Rows and documents come
and go by the thousand and are in no cycle: rounds that begin after 700 of them find nothing, and cost a tenth of the work.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

ROUNDS = (10_000, 20, 20)  # new objects before the youngest are looked at, and rounds of the younger before the older


@contextmanager
def loading() -> Iterator[None]:
    """Nothing is collected within; what is there at the end is never looked at again."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def settle() -> None:
    """What stands now stands to the end, and is never looked at again; what comes is looked at seldom."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*ROUNDS)
