"""Ports that others use, no root, missing programs, no addresses left: each a clear sentence, and nothing half made."""

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sysvm.cli.client import ApiError
from sysvm.cli.demo import places
from tests.boot.conftest import world
from tests.boot.world import PROGRAM, World


@pytest.fixture(scope="module")
def simulated() -> Iterator[World]:
    """A demo on simulated hosts."""
    with world("--simulated") as made:
        yield made


def test_two_folders_have_different_places(tmp_path: Path):
    """Also when they are chosen in the same moment."""
    one, two = (places.of(tmp_path / name) for name in ("one", "two"))
    assert len({one.api_port, one.hub_port, two.api_port, two.hub_port}) == 4
    assert not {*one.uplink} & {*two.uplink}
    assert places.of(tmp_path / "one") == one


def test_a_port_that_somebody_uses_is_left_to_him(tmp_path: Path):
    """Another one is chosen."""
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", 8080))
            taken.listen()
        except OSError:
            pass  # somebody uses it already
        assert places.of(tmp_path / "demo").api_port != 8080


def test_a_server_whose_port_is_taken_says_so(simulated: World, tmp_path: Path):
    """In a sentence, with a code."""
    address = f"127.0.0.1:{simulated.places.api_port}"
    words = [PROGRAM, "server", "--state", str(tmp_path), "--listen", address, "--hub", "127.0.0.1:0"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"cannot listen on {address}: Address already in use" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_full_public_range_is_533_and_an_alert(simulated: World):
    """Addresses are taken until there is none."""
    client = simulated.client
    (network,) = client.rows("listNetworks", "network", name="demo")
    with pytest.raises(ApiError) as refused:
        for _ in range(300):
            client.job("associateIpAddress", networkid=network["id"])
    assert refused.value.code == 533
    assert any("public" in text.lower() for text in simulated.alerts().values())


NO_ROOT = "the demo makes network namespaces and machines: run it as root, or with --simulated"


@pytest.mark.root
def test_without_root_one_sentence_says_so(tmp_path: Path):
    """And nothing is made. In a user namespace of its own nobody is root."""
    words = ["unshare", "--user", PROGRAM, "demo", "--state", str(tmp_path / "demo")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, f"sysvm: {NO_ROOT}\n"), done.stdout
    assert not (tmp_path / "demo").exists()
