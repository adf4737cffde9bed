"""Python's collector of cycles, kept out of the way while a program is loaded.

Importing makes some 100,000 objects that stay for good. The collector looks at them again and again while they are made,
which is a fifth of the time that loading takes, and once more at each of its large rounds afterwards.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    """Nothing is collected within; what is there at the end is never looked at again."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
