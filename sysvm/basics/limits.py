"""Limits of the operating system that a process of many connections has to raise for itself.

A shell or a supervisor gives 1024 open files, which is 500 console sessions, or 1,000 hosts of a management server.
"""

import contextlib
import resource


def raise_open_files(wanted: int) -> int:
    """As many open files as are wanted, or as the system allows; how many that is now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    reachable = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if reachable > soft != resource.RLIM_INFINITY:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (reachable, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
