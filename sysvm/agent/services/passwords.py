"""The password server of a router: tells a guest its new password, once.

A guest sends an HTTP request with the header `DomU_Request` from its own address:
    send_my_password   answered by the password, or `saved_password` when there is none
    saved_password     the guest has set it: it is deleted, answered by `saved_password`
    anything else      `bad_request`

Passwords are files <folder>/<address> (first line: the mark, second line: the password). A delivered one leaves its mark in
<delivered>/<address>, on disk before the answer goes out, so that nobody ever serves it again, whatever document a restarted
agent begins with. A guest that dies between the two requests asks again and gets it again. It runs under a uid of its own,
reads no more than 8 KB of a request, and cuts off who is slow.

Started by its path, with few imports, because each costs tenths of a second under emulation:
    passwords.py PORT UID FOLDER DELIVERED ADDRESS...
"""

import os
import selectors
import socket
import sys
import time
from pathlib import Path

MOST = 8192
SECONDS = 5.0
CONNECTIONS = 256


def request_of(head: bytes) -> str:
    """The value of DomU_Request in a request's head; empty when there is none."""
    for line in head.split(b"\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"domu_request":
            return value.strip().decode("ascii", "replace")
    return ""


def answer(request: str, client: str, passwords: Path, delivered: Path) -> bytes:
    """The body for a request of `client`; deletes a password that has been saved."""
    kept = passwords / client
    try:
        mark, _, password = kept.read_text().partition("\n")
    except OSError:
        mark, password = "", ""
    match request:
        case "send_my_password":
            return password.strip("\n").encode() or b"saved_password"
        case "saved_password":
            if mark:
                _keep(delivered / client, mark)
                kept.unlink(missing_ok=True)
            return b"saved_password"
        case _:
            return b"bad_request"


def _keep(path: Path, mark: str) -> None:
    new = path.with_name(f".{path.name}")
    with new.open("w") as file:
        file.write(mark)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def response(body: bytes) -> bytes:
    """A whole HTTP answer."""
    head = f"HTTP/1.0 200 OK\r\nServer: Password Server\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class Conversation:
    """One connection."""

    def __init__(self, handle: socket.socket, client: str, until: float) -> None:
        self.handle = handle
        self.client = client
        self.until = until
        self.read = bytearray()


class Server:
    """All connections, one thread."""

    def __init__(self, listen: list[str], port: int, passwords: Path, delivered: Path) -> None:
        self._passwords, self._delivered = passwords, delivered
        self._ready = selectors.DefaultSelector()
        self._open: dict[int, Conversation] = {}
        for address in listen:
            handle = socket.create_server((address, port), backlog=128)
            handle.setblocking(False)
            self._ready.register(handle, selectors.EVENT_READ)

    def serve(self) -> None:
        """For ever."""
        while True:
            for key, _ in self._ready.select(timeout=1.0):
                if isinstance(key.data, Conversation):
                    self._hear(key.data)
                elif isinstance(key.fileobj, socket.socket):
                    self._accept(key.fileobj)
            now = time.monotonic()
            for late in [each for each in self._open.values() if each.until < now]:
                self._close(late)

    def _accept(self, door: socket.socket) -> None:
        try:
            handle, peer = door.accept()
        except OSError:
            return
        if len(self._open) >= CONNECTIONS:
            handle.close()
            return
        handle.setblocking(False)
        conversation = Conversation(handle, peer[0], time.monotonic() + SECONDS)
        self._open[handle.fileno()] = conversation
        self._ready.register(handle, selectors.EVENT_READ, conversation)

    def _hear(self, conversation: Conversation) -> None:
        try:
            data = conversation.handle.recv(4096)
            conversation.read += data
            head = bytes(conversation.read)
            if b"\r\n\r\n" in head or b"\n\n" in head:
                body = answer(request_of(head), conversation.client, self._passwords, self._delivered)
                # An answer is far smaller than a fresh socket's buffer: one send is enough.
                conversation.handle.send(response(body))
            elif data and len(head) < MOST:
                return
        except OSError:
            pass
        self._close(conversation)

    def _close(self, conversation: Conversation) -> None:
        self._open.pop(conversation.handle.fileno(), None)
        self._ready.unregister(conversation.handle)
        conversation.handle.close()


def main() -> None:
    """Serves until it is killed."""
    port, uid, passwords, delivered, *listen = sys.argv[1:]
    server = Server(listen, int(port), Path(passwords), Path(delivered))
    os.setgroups([])
    os.setresgid(int(uid), int(uid), int(uid))
    os.setresuid(int(uid), int(uid), int(uid))
    server.serve()


if __name__ == "__main__":
    main()
