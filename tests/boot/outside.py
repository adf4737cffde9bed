"""A namespace beside this machine on a demo's public network: somebody on the Internet."""

import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.boot.world import World, answers


class Outside:
    """The namespace; programs run in it."""

    def __init__(self, name: str, address: str) -> None:
        self.outside = name
        self.address = address

    def spawn(self, namespace: str, *argv: str, **options: Any) -> subprocess.Popen[bytes]:
        """A process in the namespace."""
        return subprocess.Popen(("ip", "netns", "exec", namespace, *argv), **options)

    def run(self, namespace: str, *argv: str) -> subprocess.CompletedProcess[str]:
        """A finished program in the namespace, whatever its code."""
        return subprocess.run(("ip", "netns", "exec", namespace, *argv), capture_output=True, text=True, check=False)


@contextmanager
def place_outside(demo: World, last: int = 250) -> Iterator[Outside]:
    """The namespace with the address that ends in `last`; gone afterwards."""
    name = f"sysvm-out-{secrets.token_hex(3)}"
    address = f"{demo.places.outside.rpartition('.')[0]}.{last}"
    link = ("link", "add", "eth0", "link", demo.places.uplink[0], "netns", name, "type", "macvlan", "mode", "bridge")
    subprocess.run(("ip", "netns", "add", name), check=True)
    try:
        subprocess.run(("ip", *link), check=True)
        lines = f"link set lo up\nlink set eth0 up\naddress add {address}/24 dev eth0\n"
        subprocess.run(("ip", "-n", name, "-batch", "-"), input=lines, text=True, check=True)
        yield Outside(name, address)
    finally:
        subprocess.run(("ip", "netns", "delete", name), check=True)


def curl(*words: str) -> str:
    """What it says."""
    return subprocess.run(("curl", "-sS", *words), capture_output=True, text=True, check=True).stdout


def page(demo: World) -> bool:
    """Guest one's page, through router, forward and firewall."""
    return "tiny guest one" in answers(str(demo.machine("router")["publicip"]), 80)
