"""One picture of a screen, small: the client half of RFB (RFC 6143) without a window, and a PNG of what it paints.

Sans-IO: `Painter` is fed what the screen says and tells what to say to it; it keeps only the pixels of the small picture, so
that a large screen costs no memory. Only what any server must offer is used: security None, raw rectangles, 32-bit pixels.
"""

import struct
import zlib

VERSION = b"RFB 003.008\n"
_HEADER = struct.Struct(">HHHHi")
# bits, depth, big endian, true colour, maxima and shifts of red, green, blue: bytes come as blue, green, red, nothing
_PIXELS = struct.pack(">B3xBBBBHHHBBB3x", 0, 32, 24, 0, 1, 255, 255, 255, 16, 8, 0)
_ENCODINGS = struct.pack(">BxHi", 2, 1, 0)
MOST_SIDE = 16_384


class Unpaintable(Exception):
    """The screen says what cannot be understood."""


class Painter:
    """A session that asks for one full picture of at most `width` x `height` (0: as wide or high as the screen is)."""

    def __init__(self, width: int = 0, height: int = 0) -> None:
        self._limit = (width, height)
        self._heard = bytearray()
        self._said = bytearray()
        self._step = self._version
        self._need = 12
        self._screen = (0, 0)
        self.size = (0, 0)
        self._rows: list[bytearray] = []
        self._rectangles = 0
        self._rectangle = (0, 0, 0, 0)
        self._line = 0
        self.done = False

    def feed(self, data: bytes) -> bytes:
        """What to answer. Raises Unpaintable."""
        self._heard += data
        while not self.done and len(self._heard) >= self._need:
            part = bytes(self._heard[: self._need])
            del self._heard[: self._need]
            self._step(part)
        said, self._said = bytes(self._said), bytearray()
        return said

    def png(self) -> bytes:
        """The picture."""
        width, height = self.size
        head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        body = zlib.compress(b"".join(b"\0" + row for row in self._rows), 6)
        return b"\x89PNG\r\n\x1a\n" + b"".join(
            _chunk(kind, data) for kind, data in ((b"IHDR", head), (b"IDAT", body), (b"IEND", b""))
        )

    # ------------------------------------------------------------ hand-shake
    def _then(self, need: int, step: "object") -> None:
        self._need, self._step = need, step  # type: ignore[assignment]

    def _version(self, part: bytes) -> None:
        if not part.startswith(b"RFB 003."):
            raise Unpaintable("this is no RFB")
        self._said += VERSION
        self._then(1, self._security)

    def _security(self, part: bytes) -> None:
        if not part[0]:
            raise Unpaintable("the screen offers no security type")
        self._then(part[0], self._offered)

    def _offered(self, part: bytes) -> None:
        if 1 not in part:
            raise Unpaintable("the screen wants a password")
        self._said += b"\x01"
        self._then(4, self._result)

    def _result(self, part: bytes) -> None:
        if any(part):
            raise Unpaintable("the screen refused")
        self._said += b"\x01"  # shared: whoever else looks goes on looking
        self._then(24, self._init)

    def _init(self, part: bytes) -> None:
        width, height = struct.unpack(">HH", part[:4])
        if not 0 < width <= MOST_SIDE or not 0 < height <= MOST_SIDE:
            raise Unpaintable(f"a screen of {width} x {height}")
        self._screen = (width, height)
        self.size = fitted(self._screen, self._limit)
        self._rows = [bytearray(3 * self.size[0]) for _ in range(self.size[1])]
        self._then(struct.unpack(">I", part[20:24])[0], self._name)
        if self._need > 65_536:
            raise Unpaintable("a name of that length")
        if not self._need:
            self._name(b"")

    def _name(self, _part: bytes) -> None:
        self._said += _PIXELS + _ENCODINGS + struct.pack(">BBHHHH", 3, 0, 0, 0, *self._screen)
        self._then(1, self._message)

    # ------------------------------------------------------------ messages
    def _message(self, part: bytes) -> None:
        steps = {0: (3, self._update), 1: (5, self._colours), 2: (0, None), 3: (7, self._cut_text)}
        if part[0] not in steps:
            raise Unpaintable(f"message {part[0]}")
        need, step = steps[part[0]]
        self._then(need or 1, step or self._message)

    def _colours(self, part: bytes) -> None:
        self._skip(6 * struct.unpack(">H", part[3:5])[0])

    def _cut_text(self, part: bytes) -> None:
        self._skip(struct.unpack(">I", part[3:7])[0])

    def _skip(self, size: int) -> None:
        if size > 1 << 20:
            raise Unpaintable("a message of that length")
        self._then(size or 1, self._skipped if size else self._message)

    def _skipped(self, _part: bytes) -> None:
        self._then(1, self._message)

    def _update(self, part: bytes) -> None:
        self._rectangles = struct.unpack(">H", part[1:3])[0]
        self._next_rectangle()

    def _next_rectangle(self) -> None:
        if self._rectangles:
            self._rectangles -= 1
            self._then(12, self._begin)
        else:
            self.done = True

    def _begin(self, part: bytes) -> None:
        x, y, width, height, encoding = _HEADER.unpack(part)
        inside = x + width <= self._screen[0] and y + height <= self._screen[1]
        if encoding != 0 or not inside:
            raise Unpaintable("a rectangle that was not asked for")
        self._rectangle, self._line = (x, y, width, height), 0
        if width and height:
            self._then(4 * width, self._pixels)
        else:
            self._next_rectangle()

    def _pixels(self, part: bytes) -> None:
        """One line of a rectangle: of it, only the pixels that the small picture shows are kept."""
        x, y, width, height = self._rectangle
        line = y + self._line
        (small_w, small_h), (screen_w, screen_h) = self.size, self._screen
        row = -(-line * small_h // screen_h)
        if row < small_h and row * screen_h // small_h == line:
            self._paint(self._rows[row], part, x, width, small_w, screen_w)
        self._line += 1
        if self._line == height:
            self._next_rectangle()

    def _paint(self, row: bytearray, part: bytes, x: int, width: int, small_w: int, screen_w: int) -> None:
        first = -(-x * small_w // screen_w)
        for column in range(first, small_w):
            at = column * screen_w // small_w - x
            if at >= width:
                break
            if at >= 0:
                blue, green, red = part[4 * at], part[4 * at + 1], part[4 * at + 2]
                row[3 * column : 3 * column + 3] = bytes((red, green, blue))


def fitted(screen: tuple[int, int], limit: tuple[int, int]) -> tuple[int, int]:
    """The largest size of the screen's shape within the limit; never larger than the screen."""
    width, height = screen
    shares = [side / full for side, full in zip(limit, screen, strict=True) if side]
    share = min([1.0, *shares])
    return max(1, int(width * share)), max(1, int(height * share))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
