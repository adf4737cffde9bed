"""Allocator settings of a process that moves bytes.

glibc returns every buffer above 128 KB to the kernel at once and takes it again for the next one; with TLS-sized bursts that
costs several times the CPU. Thresholds that high keep such buffers in the process. Elsewhere than glibc nothing happens.
"""

import ctypes

# aiofastnet keeps 256 KB each way for a TLS connection, all of it touched by the first burst. Screens flow one way: four
# records (of 16 KB, and what surrounds them) at once there cost no more CPU, and the other way one is enough.
RECORD = 16 * 1024 + 64
MANY_RECORDS = 4 * RECORD

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
MMAP_BYTES = 32 * 1024 * 1024
TRIM_BYTES = 16 * 1024 * 1024


def keep_buffers() -> bool:
    """Sets the thresholds; False where the C library has none."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_MMAP_THRESHOLD, MMAP_BYTES)) and bool(mallopt(_TRIM_THRESHOLD, TRIM_BYTES))
