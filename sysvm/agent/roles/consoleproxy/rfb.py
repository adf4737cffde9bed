"""What a viewer says in RFB, read as it passes: is somebody working, and may these bytes go on?

Sans-IO. The stream is never changed for a full session; a view-only one loses key, pointer and clipboard messages.
Pictures that the viewer asks for are not activity (a blinking cursor makes noVNC ask for ever), keys and pointer are.

Not here: the server's half of the stream. What the server offers is not seen, so a message outside the table, RFB 3.3, or a
security type other than None or VNC password makes the rest *opaque*: all of it counts as activity, and for a view-only
session none of it passes.
"""

from collections.abc import Callable
from dataclasses import dataclass

_VERSION = 12
_NONE, _VNC_PASSWORD = 1, 2


@dataclass(frozen=True, slots=True)
class Message:
    """A kind of viewer message: bytes needed to know its size, the size, and what it means."""

    head: int
    size: Callable[[bytes], int]
    input: bool = False


def _number(raw: bytes) -> int:
    return int.from_bytes(raw, "big")


def _cut_text(head: bytes) -> int:
    # A negative length marks the extended clipboard, whose size is the absolute value.
    return 8 + abs(int.from_bytes(head[4:8], "big", signed=True))


def _qemu(head: bytes) -> int:
    if head[1] == 0:
        return 12
    return 10 if _number(head[2:4]) == 2 else 4


MESSAGES: dict[int, Message] = {
    0: Message(1, lambda _: 20),  # SetPixelFormat
    2: Message(4, lambda head: 4 + 4 * _number(head[2:4])),  # SetEncodings
    3: Message(1, lambda _: 10),  # FramebufferUpdateRequest
    4: Message(1, lambda _: 8, input=True),  # KeyEvent
    5: Message(2, lambda head: 7 if head[1] & 0x80 else 6, input=True),  # PointerEvent, extended when marked
    6: Message(8, _cut_text, input=True),  # ClientCutText
    150: Message(1, lambda _: 10),  # EnableContinuousUpdates
    248: Message(9, lambda head: 9 + head[8]),  # Fence
    250: Message(1, lambda _: 4, input=True),  # xvp: shut down, reboot
    251: Message(8, lambda head: 8 + 16 * head[6]),  # SetDesktopSize
    255: Message(4, _qemu, input=True),  # QEMU: extended key, audio
}


class Viewer:
    """The viewer's half of one RFB session."""

    def __init__(self, *, view_only: bool = False) -> None:
        self._view_only = view_only
        self._head = bytearray()
        self._next: Callable[[], int | None] = self._version
        self._left = 0  # bytes of the current message still to come
        self._passes = True  # ... and whether they go on
        self._opaque = False
        self._active = False

    @property
    def opaque(self) -> bool:
        """The rest of the stream is not understood."""
        return self._opaque

    def feed(self, data: bytes | memoryview) -> tuple[bool, bytes | memoryview]:
        """Whether somebody worked, and the bytes that go on to the screen."""
        self._active = False
        kept = bytearray()
        at, end = 0, len(data)
        while at < end:
            if self._opaque:
                self._active = True
                self._keep(kept, data[at:], not self._view_only)
                break
            at = self._body(data, at, kept) if self._left else self._heading(data, at, kept)
        return self._active, memoryview(kept) if self._view_only else data

    def _body(self, data: bytes | memoryview, at: int, kept: bytearray) -> int:
        here = min(self._left, len(data) - at)
        self._keep(kept, data[at : at + here], self._passes)
        self._left -= here
        return at + here

    def _heading(self, data: bytes | memoryview, at: int, kept: bytearray) -> int:
        self._head.append(data[at])
        size = self._next()
        if size is not None or self._opaque:
            passes = self._passes and not (self._opaque and self._view_only)
            self._keep(kept, self._head, passes)
            self._left = max(0, (size or 0) - len(self._head))
            self._head.clear()
        return at + 1

    def _keep(self, kept: bytearray, data: bytes | bytearray | memoryview, passes: bool) -> None:
        if self._view_only and passes:
            kept += data

    def _version(self) -> int | None:
        if len(self._head) < _VERSION:
            return None
        self._next = self._security
        if bytes(self._head) not in (b"RFB 003.007\n", b"RFB 003.008\n"):
            self._opaque = True
        return _VERSION

    def _security(self) -> int | None:
        self._next = {_NONE: self._init, _VNC_PASSWORD: self._password}.get(self._head[0], self._init)
        self._opaque = self._head[0] not in (_NONE, _VNC_PASSWORD)
        return 1

    def _password(self) -> int | None:
        self._next = self._init
        return 16

    def _init(self) -> int | None:
        self._next = self._message
        return 1

    def _message(self) -> int | None:
        kind = MESSAGES.get(self._head[0])
        if kind is None:
            self._opaque = True
            return None
        if len(self._head) < kind.head:
            return None
        self._active = self._active or kind.input
        self._passes = not (kind.input and self._view_only)
        return kind.size(bytes(self._head))
