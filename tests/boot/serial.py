"""A guest's serial line: commands for its shell, and what they answer."""

import select
import socket
from pathlib import Path
from types import TracebackType

PATIENCE_S = 60.0  # without a single byte
TRIES = 300  # to wake a shell, a second each


class Serial:
    """The line of a tiny guest, at its shell."""

    def __init__(self, path: Path) -> None:
        self._line = socket.socket(socket.AF_UNIX)
        self._line.connect(str(path))
        self._count = 0
        self._heard = b""

    def __enter__(self) -> "Serial":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._line.close()

    def wake(self) -> None:
        """The shell is there afterwards: what is typed to a guest that starts is lost."""
        for _ in range(TRIES):
            self._line.sendall(b"\x15\n")
            while select.select([self._line], [], [], 1.0)[0]:  # until it says no more; an echo comes at once
                self._heard += self._line.recv(65536)
                if b"# " in self._heard:
                    return
        raise AssertionError(f"the guest has no shell: {self._heard[-500:]!r}")

    def ask(self, command: str) -> str:
        """What the command prints. The marks are split in what is typed, so that the echo is no answer."""
        self._count += 1
        begin, end = f"<{self._count}:", f":{self._count}>"
        typed = f"\x15printf '%s%s\\n' '<' '{self._count}:'; {command}; printf '%s%s\\n' ':{self._count}' '>'\n"
        self._line.sendall(typed.encode())
        while end.encode() not in self._heard:
            ready, _, _ = select.select([self._line], [], [], PATIENCE_S)
            piece = self._line.recv(65536) if ready else b""
            assert piece, f"the guest is silent after {self._heard[-500:]!r}"
            self._heard += piece
        said, _, self._heard = self._heard.partition(end.encode())
        return said.rpartition(begin.encode())[2].decode(errors="replace").replace("\r", "").strip()
