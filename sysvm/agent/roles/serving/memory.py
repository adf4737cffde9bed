"""Allocator settings of a process that moves bytes.

glibc returns every buffer above 128 KB to the kernel at once and takes it again for the next one; with TLS-sized bursts that
costs several times the CPU. Thresholds that high keep such buffers in the process. Elsewhere than glibc nothing happens.
"""

import ctypes

# aiofastnet keeps 256 KB each way for a TLS connection, all of it touched by the first burst. Two records (of 16 KB, and what
# surrounds them) at once cost no more CPU. One would cost more memory, not less: it fits where OpenSSL has had its own
# buffers, which are dirty, while a piece of this size is new, and of that only pages that are touched count.
RECORDS = 2 * (16 * 1024 + 64)

# What may wait for a slow peer before the other side is stopped; a piece of a screen that comes then still waits, too.
WAITING = 16 * 1024

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
MMAP_BYTES = 32 * 1024 * 1024
TRIM_BYTES = 16 * 1024 * 1024


def keep_buffers() -> bool:
    """Sets the thresholds; False where the C library has none."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_MMAP_THRESHOLD, MMAP_BYTES)) and bool(mallopt(_TRIM_THRESHOLD, TRIM_BYTES))
