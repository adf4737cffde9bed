"""The agent over a character device: a pseudo-terminal stands for the virtio-serial port of a VM.

Both cut long writes into pieces and have no connections; a real port is tried where a VM is booted.
"""

import os
import tty
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from sysvm.basics.digest import digest
from sysvm.wire.channel import AgentHello, AgentNoticeBody, AgentReport, Apply
from sysvm.wire.envelope import Answer, Call, Envelope, Notice
from sysvm.wire.frames import FrameReader, frame
from tests.agent.documents import metadata, router
from tests.agent.lab import Lab, until

pytestmark = pytest.mark.root


class Port:
    """The host's end, blocking."""

    def __init__(self, lab: Lab) -> None:
        self._fd, inside = os.openpty()
        tty.setraw(self._fd)
        tty.setraw(inside)
        name = lab.paths.virtio_ports / "vport1p1/name"
        name.parent.mkdir(parents=True)
        name.write_text("org.sysvm.agent\n")
        lab.paths.devices.mkdir(parents=True)
        (lab.paths.devices / "vport1p1").symlink_to(Path(os.ttyname(inside)))
        self._inside = inside
        self._frames = FrameReader(strict=False)
        self._waiting: list[Envelope] = []

    def hear(self) -> Envelope:
        """The next envelope."""
        while not self._waiting:
            payloads = self._frames.feed(os.read(self._fd, 65536))
            self._waiting += [msgspec.msgpack.decode(payload, type=Envelope) for payload in payloads]
        return self._waiting.pop(0)

    def say(self, data: bytes) -> None:
        """All of `data`, in the pieces that the device takes."""
        while data:
            data = data[os.write(self._fd, data) :]

    def close(self) -> None:
        """The device is gone."""
        os.close(self._fd)
        os.close(self._inside)


@pytest.fixture
def port() -> Iterator[tuple[Port, Lab]]:
    """A lab whose agent has no socket, only a port."""
    lab = Lab()
    made: Port | None = None
    try:
        lab.build()
        assert lab.host is not None
        lab.host.close()
        lab.host = None
        made = Port(lab)
        lab.start_agent()
        yield made, lab
    finally:
        lab.remove()
        if made is not None:
            made.close()


def notice_of(envelope: Envelope) -> msgspec.Struct:
    """What a notice says."""
    assert isinstance(envelope, Notice)
    body: msgspec.Struct = msgspec.msgpack.decode(envelope.body, type=AgentNoticeBody)
    return body


def test_the_agent_speaks_over_a_port(port: tuple[Port, Lab]) -> None:
    """Hello first; a document larger than any single write, after half a frame of a dead host agent, is applied."""
    host, _ = port
    assert isinstance(notice_of(host.hear()), AgentHello)
    document = router(metadata=metadata(userdata=os.urandom(300_000)))
    call = frame(Call(7, msgspec.Raw(msgspec.msgpack.encode(Apply(document)))))
    host.say(b"the end of something SV\x01" + call)
    answer = until(lambda: next((each for each in [host.hear()] if isinstance(each, Answer)), None), "the answer")
    assert (answer.number, answer.fault) == (7, None)
    assert msgspec.msgpack.decode(answer.body or b"", type=AgentReport).live == digest(document)
