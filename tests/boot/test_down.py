"""`sysvm down`: nothing is left, twice in a row, whatever was killed before, and in the middle of a demo."""

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from tests.boot.conftest import folder, world
from tests.boot.outside import page
from tests.boot.patience import until
from tests.boot.world import PROGRAM, World, processes

pytestmark = [pytest.mark.root, pytest.mark.template]


def supervisor(made: World) -> int:
    """s6-svscan of this folder."""
    return next(pid for pid, line in processes() if "s6-svscan" in line and str(made.state) in line)


def services(made: World) -> tuple[int | None, ...]:
    """Server and host agent; None for one that does not run."""
    return made.service("server"), made.service("host")


def test_a_demo_that_is_killed_in_its_middle_goes_away_whole():
    """kill -9 of the demo, then of supervisor, server and host agent, while system VMs are being started."""
    with folder() as made:
        words = [PROGRAM, "demo", "--state", str(made.state), "--runtime", "container"]
        with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
            until(lambda: any(made.layout.machines.glob("*/*/spec.json")), "a system VM is being made", made.moving)
            running.kill()
        for pid in (supervisor(made), *services(made)):
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
        assert "nothing of it is left" in make_down(made)
        assert made.leavings() == []
        assert "nothing is up" in make_down(made)


def make_down(made: World) -> str:
    """`make down`, as people call it; what it said."""
    words = ["make", "-s", "down", f"STATE={made.state}"]
    done = subprocess.run(words, cwd=Path(PROGRAM).parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def parts(made: World) -> dict[str, int | None]:
    """A process of every kind that a finished demo has."""
    router = made.uuid("router")

    def found(*words: str) -> int | None:
        return next((pid for pid, line in processes() if all(word in line for word in words)), None)

    return {
        "supervisor": supervisor(made),
        "server": made.service("server"),
        "host agent": made.service("host"),
        "image server": made.service("images"),
        "console relay": found("sysvm.hosts.relay", str(made.state)),
        "libvirtd": made.libvirtd(),
        "guest": made.qemu(made.uuid("one")),
        "container's monitor": found("[lxc monitor]", str(made.layout.lxc), router),
        "container": made.init(made.uuid("consoleproxy")),
    }


def test_two_demos_live_side_by_side_and_one_goes_whatever_was_killed(demo: World):
    """Both serve; the second loses a part of every kind, goes, leaves nothing, and the first has not noticed."""
    demo.until(demo.all_run, "the first runs")
    census = demo.census()
    with world("--runtime", "container") as second:
        for made in (demo, second):
            made.until(lambda made=made: page(made), "guest one answers")
        victims = parts(second)
        assert None not in victims.values(), victims
        for pid in victims.values():
            with suppress(ProcessLookupError):  # the monitor takes its container along
                os.kill(pid, signal.SIGKILL)
        assert "nothing of it is left" in second.down()
        assert second.leavings() == []
    demo.until(demo.all_run, "the first runs still")
    assert page(demo)
    assert demo.census() == census


def test_a_demo_goes_on_where_it_was_killed():
    """The second run finds what the first made, and ends."""
    with folder() as made:
        words = [PROGRAM, "demo", "--state", str(made.state), "--simulated"]
        with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
            until(lambda: (made.state / "keys.json").exists(), "there are keys", made.moving)
            running.kill()
        server = made.service("server")
        assert server is not None
        os.kill(server, signal.SIGKILL)
        made.up("--simulated")
        assert made.all_run()
        assert len(made.client.rows("listZones", "zone")) == 1
