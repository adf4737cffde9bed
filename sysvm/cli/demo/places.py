"""Where the demo of this clone is: everything is derived from its state folder, so that two clones do not meet.

A port is free when nobody listens on it and it is no other demo's. Each port of a demo has a lock, an abstract unix socket:
the process that chose the port holds it first, then the demo's supervisor inherits it, so that a port is its demo's also
while the server behind it is being restarted. The kernel takes the lock away with the last process that holds it.
"""

import hashlib
import ipaddress
import json
import socket
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

from sysvm.basics.digest import short_name
from sysvm.basics.errors import Refused, Why

FILE = "demo.json"
_locks: dict[int, socket.socket] = {}  # by port; kept to the end of this process


@dataclass(frozen=True, slots=True)
class Places:
    """Folders, addresses, ports and interface names."""

    state: str
    net: int  # second octet of 10.x.0.0/16
    api_port: int
    hub_port: int

    @property
    def folder(self) -> Path:
        """The state folder."""
        return Path(self.state)

    @property
    def outside(self) -> str:
        """The test host's address on the public network: this machine's end of the uplink."""
        return f"10.{self.net}.0.1"

    @property
    def public_range(self) -> tuple[str, str]:
        """First and last public address."""
        return f"10.{self.net}.0.10", f"10.{self.net}.0.200"

    @property
    def host_address(self) -> str:
        """The host on the management network."""
        return f"10.{self.net}.1.2"

    @property
    def pod(self) -> tuple[str, str, str]:
        """Gateway, first and last address of the pod."""
        return f"10.{self.net}.1.1", f"10.{self.net}.1.10", f"10.{self.net}.1.200"

    @property
    def endpoint(self) -> str:
        """The API."""
        return f"http://127.0.0.1:{self.api_port}/client/api"

    @property
    def image_url(self) -> str:
        """Where guest images are served from."""
        return f"http://{self.outside}:8000"

    @property
    def uplink(self) -> tuple[str, str]:
        """The veth between this machine and the public bridge: our end, the bridge's end."""
        return short_name("svo", self.state), short_name("svu", self.state)


def of(state: Path) -> Places:
    """The places of a state folder; chosen at the first call, then kept."""
    file = state / FILE
    if file.exists():
        return Places(**json.loads(file.read_text()))
    seed = int.from_bytes(hashlib.sha256(str(state).encode()).digest()[:4], "big")
    places = Places(str(state), _free_net(seed), _free_port(8080, seed), _free_port(8250, seed + 1))
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_secret(file, json.dumps(asdict(places), indent=2) + "\n")
    return places


def locks(places: Places) -> tuple[int, ...]:
    """Descriptors of the locks of both ports, for the supervisor to inherit; without those that it holds already."""
    ports = (places.api_port, places.hub_port)
    return tuple(_locks[port].fileno() for port in ports if port in _locks or _lock(port))


def write_secret(path: Path, text: str) -> None:
    """Whole or not at all, and for root only, also when we are killed here."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    new.touch(mode=0o600)
    new.write_text(text)
    new.replace(path)


def _free_net(seed: int) -> int:
    """A 10.x.0.0/16 that no route of this machine covers."""
    taken = _routes()
    for step in range(128):
        octet = 64 + (seed + step) % 128
        net = ipaddress.ip_network(f"10.{octet}.0.0/16")
        if not any(net.overlaps(other) for other in taken):
            return octet
    raise Refused("every network 10.64.0.0/16 to 10.191.0.0/16 is routed on this machine", Why.CAPACITY)


def _routes() -> list[ipaddress.IPv4Network]:
    listed = subprocess.run(["ip", "-4", "-j", "route"], capture_output=True, check=True, text=True).stdout
    destinations = [row["dst"] for row in json.loads(listed or "[]")]
    return [ipaddress.IPv4Network(dst, strict=False) for dst in destinations if dst != "default"]


def _free_port(wanted: int, seed: int) -> int:
    for port in (wanted, *(20000 + (seed + step) % 10000 for step in range(100))):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            if _lock(port):
                return port
    raise Refused("no TCP port is free on loopback", Why.CAPACITY)


def _lock(port: int) -> bool:
    """Whether `port` is ours from now on; not if it is another demo's, or that of an earlier choice."""
    lock = socket.socket(socket.AF_UNIX)
    try:
        lock.bind(f"\0sysvm-port-{port}")
    except OSError:
        lock.close()
        return False
    _locks[port] = lock
    return True
