"""The painter: what a screen says, cut anywhere, becomes a picture; what it must not say ends it."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sysvm.agent.roles.consoleproxy.picture import Painter, Unpaintable, fitted
from tests.agent_console.browser import read_png

RED, GREEN, BLUE = b"\0\0\xff\0", b"\0\xff\0\0", b"\xff\0\0\0"  # as the wire has them
HELLO = b"RFB 003.008\n" + b"\x02\x02\x01" + b"\0\0\0\0"
COLOURS, CUT_TEXT = b"\x01\0\0\0\0\x01" + bytes(6), b"\x03\0\0\0\0\0\0\x02hi"


def init(width: int, height: int, name: bytes = b"web1") -> bytes:
    return struct.pack(">HH16xI", width, height, len(name)) + name


def rectangle(x: int, y: int, width: int, height: int, pixels: bytes, encoding: int = 0) -> bytes:
    return struct.pack(">HHHHi", x, y, width, height, encoding) + pixels


def update(*rectangles: bytes) -> bytes:
    return struct.pack(">BxH", 0, len(rectangles)) + b"".join(rectangles)


HALVES = (
    HELLO + init(4, 2) + COLOURS + b"\x02" + CUT_TEXT
    + update(rectangle(0, 0, 2, 2, RED * 4), rectangle(3, 1, 1, 1, GREEN), rectangle(2, 0, 1, 2, BLUE * 2))
)  # fmt: skip


@given(st.data())
def test_however_the_stream_is_cut_it_is_the_same_picture(data: st.DataObject) -> None:
    painter, at, said = Painter(), 0, b""
    while at < len(HALVES):
        cut = data.draw(st.integers(1, 20))
        said += painter.feed(HALVES[at : at + cut])
        at += cut
    size, rows = read_png(painter.png())
    assert (painter.done, size) == (True, (4, 2))
    assert rows[0] == b"\xff\0\0" * 2 + b"\0\0\xff" + bytes(3)
    assert rows[1] == b"\xff\0\0" * 2 + b"\0\0\xff" + b"\0\xff\0"
    assert said.startswith(b"RFB 003.008\n\x01\x01") and said.endswith(struct.pack(">BBHHHH", 3, 0, 0, 0, 4, 2))


@pytest.mark.parametrize(
    ("screen", "limit", "size"),
    [
        ((800, 600), (0, 0), (800, 600)),
        ((800, 600), (100, 0), (100, 75)),
        ((800, 600), (400, 30), (40, 30)),
        ((80, 60), (800, 600), (80, 60)),
        ((10_000, 1), (10, 10), (10, 1)),
    ],
)
def test_a_small_picture_has_the_shape_of_the_screen(
    screen: tuple[int, int], limit: tuple[int, int], size: tuple[int, int]
) -> None:
    assert fitted(screen, limit) == size


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 50), st.integers(0, 50))
def test_every_pixel_of_a_small_picture_is_painted(width: int, height: int, most_w: int, most_h: int) -> None:
    painter = Painter(most_w, most_h)
    painter.feed(HELLO + init(width, height) + update(rectangle(0, 0, width, height, RED * (width * height))))
    size, rows = read_png(painter.png())
    assert size == fitted((width, height), (most_w, most_h))
    assert set(rows) == {b"\xff\0\0" * size[0]}


@pytest.mark.parametrize(
    "stream",
    [
        b"HTTP/1.1 200",
        b"RFB 003.008\n\x00",
        b"RFB 003.008\n\x01\x02",
        b"RFB 003.008\n\x01\x01\0\0\0\x01",
        HELLO + init(0, 600),
        HELLO + init(60_000, 600),
        HELLO + struct.pack(">HH16xI", 8, 8, 2**31),
        HELLO + init(4, 2) + update(rectangle(3, 0, 2, 2, b"")),
        HELLO + init(4, 2) + update(rectangle(0, 0, 1, 1, b"", encoding=7)),
        HELLO + init(4, 2) + b"\x09",
        HELLO + init(4, 2) + b"\x03\0\0\0\x7f\xff\xff\xff",
    ],
)
def test_what_cannot_be_painted_is_said(stream: bytes) -> None:
    with pytest.raises(Unpaintable):
        Painter().feed(stream)


@given(st.binary(max_size=400))
def test_any_bytes_are_survived(noise: bytes) -> None:
    painter = Painter(10, 10)
    try:
        painter.feed(HELLO + init(4, 2) + noise)
    except Unpaintable:
        return
    assert len(painter._heard) <= 400
