"""`sysvm down`: nothing is left, twice in a row, whatever was killed before, and in the middle of a demo."""

import os
import signal
import subprocess

import pytest

from tests.boot.conftest import folder
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
        assert "nothing of it is left" in made.down()
        assert made.leavings() == []
        assert "nothing is up" in made.down()


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
