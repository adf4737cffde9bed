"""Ports that others use, no root, missing programs, no addresses left: each a clear sentence, and nothing half made."""

import itertools
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sysvm.cli.client import ApiError
from sysvm.cli.demo import needs, places
from tests.boot.conftest import world
from tests.boot.world import PROGRAM, World, sysvm


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


def test_the_ports_of_a_demo_are_its_own_while_nobody_listens(simulated: World):
    """Another demo that starts while the server is dead must not choose them."""
    service = str(simulated.state / "services" / "server")
    subprocess.run(["s6-svc", "-wD", "-d", service], check=True)
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", simulated.places.api_port))  # nobody listens
        assert places.locks(simulated.places) == ()
    finally:
        subprocess.run(["s6-svc", "-u", service], check=True)
    simulated.until(lambda: simulated.client.rows("listZones", "zone"), "the server answers again")


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


@pytest.mark.parametrize("options", [(), ("--simulated",)])
def test_what_is_missing_is_told_with_its_package(tmp_path: Path, options: tuple[str, ...]):
    """All of it at once, before anything is made."""
    words = [PROGRAM, "demo", "--state", str(tmp_path / "demo"), *options]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env={"PATH": str(tmp_path)})
    wanted = needs.EVERYWHERE if options else needs.EVERYWHERE | needs.ON_A_HOST
    told = ", ".join(f"{program} (package {package})" for program, package in wanted.items())
    assert (done.returncode, done.stderr) == (1, f"sysvm: this machine lacks {told}: run `make packages` as root\n")
    assert not (tmp_path / "demo").exists()


def test_every_package_that_is_asked_for_is_installed_by_make_packages():
    """Also those of the second file."""
    listed = [Path(name).read_text().split() for name in ("packages/host.txt", "images/host-packages.txt")]
    assert {*needs.EVERYWHERE.values(), *needs.ON_A_HOST.values()} <= set(itertools.chain(*listed))


@pytest.mark.root
@pytest.mark.template
def test_an_interface_of_somebody_else_is_left_to_him(tmp_path: Path):
    """The demo says which one; down does not remove it."""
    made = World(tmp_path / "s")
    ours, _ = made.places_uplink()
    subprocess.run(["ip", "link", "add", ours, "type", "bridge"], check=True)
    try:
        done = sysvm("demo", "--state", str(made.state))
        assert (done.returncode, "Traceback" in done.stderr) == (1, False)
        assert f"the interface {ours} is in use by something else" in done.stderr
        made.down()
        assert Path(f"/sys/class/net/{ours}").exists()
    finally:
        subprocess.run(["ip", "link", "del", ours], check=True)


NO_ROOT = "the demo makes network namespaces and machines: run it as root, or with --simulated"


@pytest.mark.root
def test_without_root_one_sentence_says_so(tmp_path: Path):
    """And nothing is made. In a user namespace of its own nobody is root."""
    words = ["unshare", "--user", PROGRAM, "demo", "--state", str(tmp_path / "demo")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, f"sysvm: {NO_ROOT}\n"), done.stdout
    assert not (tmp_path / "demo").exists()
