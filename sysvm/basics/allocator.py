"""The C library's allocator, told once how this process uses memory.

glibc takes large blocks from the kernel and gives them back, but only until the first of them is freed: then it raises the
size from which on blocks are large, and carves the next ones out of its heap, where others have left pages behind. So a
buffer that nobody writes to costs what it is long. Naming the size ourselves keeps it where it is.
"""

import ctypes

M_MMAP_THRESHOLD = -3  # malloc.h
LARGE = 128 * 1024


def keep_large_blocks_apart() -> None:
    """Blocks of 128 KB and more get pages of their own, which count when they are touched and go back when freed. Where the C
    library is another one nothing happens."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGE)
