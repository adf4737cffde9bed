"""What HAProxy says and does over its control socket: which configuration is live, its servers, one more, one less.

One connection for each question, as HAProxy wants it; an answer takes a fraction of a millisecond. After a reload the
socket's path leads to the new process, and the old one is asked nothing any more.
"""

import socket
from pathlib import Path

import msgspec

_SECONDS = 5.0
_OUT_OF_WORK = 0x01 | 0x08  # admin state: in maintenance or draining, because somebody has said so
_CHECKED = 0x04
_RUNNING = 2
# A server of the configuration has these by itself; one that is added has not, and would make a connection per request.
_POOL = "pool-max-conn -1 pool-purge-delay 5s"


class NoAnswer(OSError):
    """HAProxy does not run, or not yet."""


class ServerSeen(msgspec.Struct, frozen=True):
    """A member as the running process has it."""

    section: str
    name: str
    at: str  # address:port
    works: bool  # takes new connections while its check is content
    checked: bool
    up: bool


def ask(path: Path, *commands: str) -> str:
    """The answers to `commands`, one after the other. Raises NoAnswer."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as handle:
            handle.settimeout(_SECONDS)
            handle.connect(str(path))
            handle.sendall(("; ".join(commands) + "\n").encode())
            parts = []
            while part := handle.recv(65536):
                parts.append(part)
    except OSError as error:
        raise NoAnswer(f"HAProxy does not answer: {error.strerror or error}") from None
    return b"".join(parts).decode(errors="replace")


def frame(path: Path) -> str:
    """The configuration's own name (its `description`). Raises NoAnswer."""
    for line in ask(path, "show info").splitlines():
        key, _, value = line.partition(": ")
        if key == "description":
            return value.strip()
    return ""


def state(path: Path) -> str:
    """The state of all servers, as the next process reads it from a file. Raises NoAnswer."""
    return ask(path, "show servers state")


def servers(text: str) -> tuple[ServerSeen, ...]:
    """The servers in a `state`."""
    names: list[str] = []
    found = []
    for line in text.splitlines():
        if line.startswith("# "):
            names = line[2:].split()
        elif names and line.strip():
            row = dict(zip(names, line.split(), strict=False))
            found.append(_server(row))
    return tuple(found)


def _server(row: dict[str, str]) -> ServerSeen:
    return ServerSeen(
        section=row["be_name"],
        name=row["srv_name"],
        at=f"{row['srv_addr']}:{row['srv_port']}",
        works=not int(row["srv_admin_state"]) & _OUT_OF_WORK,
        checked=bool(int(row["srv_check_state"]) & _CHECKED),
        up=int(row["srv_op_state"]) == _RUNNING,
    )


def add(path: Path, section: str, name: str, at: str, options: str) -> str:
    """A new member takes connections; what HAProxy has against it, or nothing. Raises NoAnswer."""
    known = f"{section}/{name}"
    said = ask(path, f"add server {known} {at} {options} {_POOL}")
    if "New server registered" not in said:
        return said.strip() or "HAProxy has not said that it has the server"
    return employ(path, section, name)


def employ(path: Path, section: str, name: str) -> str:
    """A member is checked and takes connections. Raises NoAnswer."""
    known = f"{section}/{name}"
    return ask(path, f"set server {known} state ready", f"enable health {known}").strip()


def revive(path: Path, section: str, name: str) -> None:
    """A member counts as well until its next checks say otherwise. Raises NoAnswer."""
    ask(path, f"set server {section}/{name} health up")


def dismiss(path: Path, section: str, name: str) -> None:
    """A member takes no new connection; those that it has go on. Raises NoAnswer."""
    ask(path, f"set server {section}/{name} state maint")


def forget(path: Path, section: str, name: str) -> bool:
    """A dismissed member is gone, if its last connection has ended. Raises NoAnswer."""
    return "Server deleted" in ask(path, f"del server {section}/{name}")
