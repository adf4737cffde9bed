"""Sockets inside a network namespace for a process that stays outside of it.

A socket belongs to the namespace of the thread that made it, for ever; who uses it later, and from where, does not matter.
So a short-lived thread enters the namespace, makes the socket and ends: no thread of a pool is ever left in a wrong one.
"""

import asyncio
import ctypes
import os
import socket
import threading
from pathlib import Path

from sysvm.basics.errors import Refused, Why

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def namespace_file(namespace: str) -> Path:
    """Where `ip netns` keeps the handle of a named namespace."""
    return Path("/run/netns") / namespace


def enter(namespace: str) -> None:
    """Moves the calling thread into `namespace`."""
    try:
        handle = os.open(namespace_file(namespace), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise Refused(f"network namespace {namespace} does not exist", Why.UNAVAILABLE) from None
    try:
        if _libc.setns(handle, _CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"cannot enter network namespace {namespace}: {os.strerror(number)}")
    finally:
        os.close(handle)


def socket_in(
    namespace: str | None, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM, protocol: int = 0
) -> socket.socket:
    """A new non-blocking socket that lives in `namespace` (None: the caller's own). Quick; blocks for no network."""
    if namespace is None:
        made = socket.socket(family, kind, protocol)
        made.setblocking(False)
        return made
    result: list[socket.socket | BaseException] = []

    def make() -> None:
        try:
            enter(namespace)
            result.append(socket_in(None, family, kind, protocol))
        except (OSError, Refused) as error:
            result.append(error)

    thread = threading.Thread(target=make, name="netns-socket")
    thread.start()
    thread.join()
    match result[0]:
        case BaseException() as error:
            raise error
        case made:
            return made


async def connect_in(namespace: str | None, host: str, port: int) -> socket.socket:
    """A TCP connection from inside `namespace` to an address (not a name)."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket_in(namespace, family)
    try:
        await asyncio.get_running_loop().sock_connect(made, (host, port))
    except BaseException:
        made.close()
        raise
    return made
