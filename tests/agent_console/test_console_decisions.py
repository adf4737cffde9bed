"""The proxy's decisions, without a socket: who may come in, who is idle, what counts as work."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from sysvm.agent.roles.consoleproxy import control
from sysvm.agent.roles.consoleproxy.knock import Knock, TurnedAway, read_knock
from sysvm.agent.roles.consoleproxy.relay import RelayAnswer
from sysvm.agent.roles.consoleproxy.rfb import Viewer
from sysvm.agent.roles.consoleproxy.sessions import TELL, Limits, SessionTable
from sysvm.basics.errors import NotYet, Refused, Unreachable

HELLO = b"RFB 003.008\n\x01\x01"
KEY = b"\x04\x01\0\0\0\0\0\x61"
POINTER, POINTER_EXTENDED = b"\x05\0\0\x05\0\x05", b"\x05\x80\0\x05\0\x05\x01"
PASTE = b"\x06\0\0\0\0\0\0\x05hello"
PASTE_EXTENDED = b"\x06\0\0\0" + (-5).to_bytes(4, "big", signed=True) + b"hello"
QEMU_KEY = b"\xff\0" + bytes(10)
UPDATE = b"\x03" + bytes(9)
PIXELS, ENCODINGS = b"\0" + bytes(19), b"\x02\0\0\x02" + bytes(8)
FENCE, SIZE, CONTINUOUS = (
    b"\xf8" + bytes(7) + b"\x03abc",
    b"\xfb" + bytes(5) + b"\x01\0" + bytes(16),
    b"\x96" + bytes(9),
)
INPUT = (KEY, POINTER, POINTER_EXTENDED, PASTE, PASTE_EXTENDED, QEMU_KEY)
OTHER = (UPDATE, PIXELS, ENCODINGS, FENCE, SIZE, CONTINUOUS)


# ---------------------------------------------------------------- rfb
@pytest.mark.parametrize("message", INPUT)
def test_keys_pointer_and_clipboard_are_work(message: bytes) -> None:
    viewer = Viewer()
    assert viewer.feed(HELLO)[0] is False
    assert viewer.feed(message + UPDATE) == (True, message + UPDATE)
    assert viewer.opaque is False


@pytest.mark.parametrize("message", OTHER)
def test_asking_for_pictures_is_no_work(message: bytes) -> None:
    viewer = Viewer()
    assert viewer.feed(HELLO + message * 3) == (False, HELLO + message * 3)


@given(st.lists(st.sampled_from(INPUT + OTHER), max_size=30), st.data())
def test_however_the_stream_is_cut_a_view_only_session_passes_all_but_input(said: list[bytes], data: st.DataObject) -> None:
    stream = HELLO + b"".join(said)
    expected = HELLO + b"".join(message for message in said if message in OTHER)
    viewer, passed, worked, at = Viewer(view_only=True), b"", False, 0
    while at < len(stream):
        cut = data.draw(st.integers(1, 40))
        active, passing = viewer.feed(memoryview(stream[at : at + cut]))
        passed += bytes(passing)
        worked |= active
        at += cut
    assert (passed, worked) == (expected, any(message in INPUT for message in said))


@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_are_survived_and_a_full_session_is_never_changed(stream: bytes, view_only: bool) -> None:
    viewer = Viewer(view_only=view_only)
    passed = bytes(viewer.feed(stream)[1])
    assert passed == stream if not view_only else len(passed) <= len(stream)


def test_what_is_not_understood_passes_in_a_full_session_and_never_in_a_view_only_one() -> None:
    unknown = b"\x77" + KEY
    assert Viewer().feed(HELLO + unknown) == (True, HELLO + unknown)
    assert bytes(Viewer(view_only=True).feed(HELLO + unknown)[1]) == HELLO
    assert bytes(Viewer(view_only=True).feed(b"RFB 003.003\n" + KEY)[1]) == b""


# ---------------------------------------------------------------- sessions
def table(**limits: object) -> SessionTable:
    return SessionTable(Limits(**limits))  # type: ignore[arg-type]


def test_those_who_open_count_as_those_who_look() -> None:
    sessions = table(max_sessions=2)
    for connection in (1, 2):
        assert (sessions.admit(connection), sessions.enter(connection, again=False)) == ("", "")
    sessions.begin(2, "s2", "g", "c", 0)
    assert sessions.admit(3) == ""
    assert "full" in sessions.enter(3, again=False)
    sessions.leave(1)
    assert sessions.enter(3, again=False) == ""


def test_no_more_may_stand_at_the_door_than_may_come_in() -> None:
    sessions = table(max_sessions=2)
    assert [sessions.admit(connection) == "" for connection in (1, 2, 3)] == [True, True, False]


def test_a_session_that_was_open_before_is_served_beyond_the_limit() -> None:
    sessions = table(max_sessions=1)
    said = []
    for connection, again in ((1, False), (2, False), (3, True), (4, True)):
        sessions.admit(connection)
        said.append(sessions.enter(connection, again) == "")
        sessions.leave(connection) if not said[-1] else sessions.begin(connection, str(connection), "g", "c", 0)
    assert said == [True, False, True, False]


def test_coming_back_is_no_work() -> None:
    sessions = table(idle_s=180)
    sessions.begin(1, "s", "g", "c", 0)
    sessions.begin(2, "s", "g", "c", 100)
    assert sessions.idle(180) == [2]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (b'{"say":"open","ticket":"t"}', control.Key("t", again=False)),
        (b'{"say":"resume","secret":"s"}', control.Key("s", again=True)),
        (b'{"say":"resume","ticket":"s"}', None),
        (b'{"say":"beat","n":1}', None),
        (b"[]", None),
        (b"\xff", None),
        (b"", None),
    ],
)
def test_the_first_frame_shows_a_ticket_or_a_secret(said: bytes, expected: control.Key | None) -> None:
    assert control.parse_key(said) == expected


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (b'{"say":"beat","n":3}', control.Beat(3)),
        (b'{"say":"beat","n":3,"round_trip_ms":12.5}', control.Beat(3, 12.5)),
        (b'{"say":"beat","n":3,"round_trip_ms":-1}', control.Beat(3)),
        (b'{"say":"beat","n":3,"round_trip_ms":1e300}', control.Beat(3)),
        (b'{"say":"beat","n":"3"}', None),
        (b'{"say":"open","ticket":"t"}', None),
    ],
)
def test_beats_are_read_with_care(said: bytes, expected: control.Beat | None) -> None:
    assert control.parse_beat(said) == expected


def test_idle_is_since_the_last_work_not_since_the_beginning() -> None:
    sessions = table(idle_s=180)
    sessions.begin(1, "s1", "g", "c", 0)
    sessions.touch(1, 100)
    assert (sessions.idle(279.9), sessions.idle(280)) == ([], [1])
    assert table(idle_s=0).idle(1e9) == []


def test_a_session_that_comes_back_replaces_itself_and_is_not_removed() -> None:
    sessions = table()
    sessions.begin(1, "s", "g", "c", 10)
    assert sessions.begin(2, "s", "g", "c", 20) == 1
    sessions.leave(1)
    report = sessions.report(20, 1020)
    assert ([(s.session, s.since, s.last_used) for s in report.sessions], report.removed) == ([("s", 1010, 1010)], ())


def test_an_end_is_told_more_than_once_and_then_no_more() -> None:
    sessions = table()
    sessions.begin(1, "s", "g", "c", 0)
    sessions.leave(1)
    sessions.leave(1)
    assert [sessions.report(0, 0).removed for _ in range(TELL + 1)] == [("s",)] * TELL + [()]


# ---------------------------------------------------------------- knocking
@pytest.mark.parametrize(
    ("path", "headers", "expected"),
    [
        ("/websockify?token=abc", {}, Knock("abc", False, None)),
        ("/websockify/?token=abc&x=1", {"Sec-WebSocket-Protocol": "binary"}, Knock("abc", False, "binary")),
        ("/websockify", {"sec-websocket-protocol": "binary, sysvm.console.1"}, Knock("", True, control.SUBPROTOCOL)),
        ("/websockify", {}, 401),
        ("/websockify?token=a&token=b", {}, 401),
        ("/websockify?token=" + "a" * 5000, {}, 401),
        ("/websockify?token=a%0d%0ab", {}, 401),
        ("/websockify?" + "&".join("a=1" for _ in range(1000)) + "&token=a", {}, 401),
        ("/other?token=abc", {}, 404),
        ("/websockify?token=a", {"Host": "1.2.3.4:8080", "Origin": "https://1.2.3.4"}, Knock("a", False, None)),
        ("/websockify?token=a", {"Host": "1.2.3.4:8080", "Origin": "https://1.2.3.4.evil"}, 403),
        ("/websockify?token=a", {"Host": "h", "Origin": "http://[bad"}, 403),
        ("/websockify?token=a", {"Host": "h", "Origin": "https://UI.example:9"}, Knock("a", False, None)),
    ],
)
def test_who_may_come_in(path: str, headers: dict[str, str], expected: Knock | int) -> None:
    got = read_knock(path, CIMultiDict(headers), ("ui.example",))
    assert expected == (got.status if isinstance(got, TurnedAway) else got)


@pytest.mark.parametrize(
    "text", [b"", b"{}", b"[]", b'{"say":"other"}', b'{"say":"open"}', b'{"say":"open","ticket":1}', b"\xff"]
)
def test_a_first_frame_without_a_ticket_brings_none(text: bytes) -> None:
    assert control.parse_key(text) is None


def test_a_reason_fits_into_a_close_frame_and_is_whole_utf8() -> None:
    assert len(control.close_reason("ä" * 200)) <= 123
    assert control.close_reason("ä" * 200).decode() == "ä" * 61


# ---------------------------------------------------------------- the relay's line
@given(st.integers(1, 20))
def test_console_bytes_in_the_segment_of_the_answer_are_not_lost(cut: int) -> None:
    stream, answer = b"OK\nRFB 003.008\n", RelayAnswer()
    good, rest = answer.feed(stream[:cut])
    if not good:
        good, rest = answer.feed(stream[cut:])
        assert (good, rest) == (True, b"RFB 003.008\n")
    else:
        assert rest == stream[3:cut]


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (b"NO used\n", Refused),
        (b"WAIT moving\n", NotYet),
        (b"WAITING\n", Unreachable),
        (b"HTTP/1.1 400\n", Unreachable),
        (b"x" * 600, Unreachable),
    ],
)
def test_other_answers_of_a_relay(said: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        RelayAnswer().feed(said)
