"""A WireGuard client: wireguard-go in the outside namespace of a place, told what a file of wg-quick says."""

import secrets
import subprocess
from pathlib import Path

from tests.agent.lab import until
from tests.agent.vpn_client import Place

RUNNING = Path("/var/run/wireguard")


def pair() -> tuple[str, str]:
    """A private key and its public key, as `wg` makes them."""
    private = subprocess.run(("wg", "genkey"), check=True, capture_output=True, text=True).stdout.strip()
    return private, public_of(private)


def public_of(private: str) -> str:
    """What belongs to a private key."""
    return subprocess.run(("wg", "pubkey"), input=private, check=True, capture_output=True, text=True).stdout.strip()


class WireguardClient:
    """One client on the outside."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self.device = f"wgc{secrets.token_hex(3)}"
        self._process = place.spawn(place.outside, "wireguard-go", "-f", self.device, stderr=subprocess.DEVNULL)
        until((RUNNING / f"{self.device}.sock").exists, "the client's wireguard-go")

    def close(self) -> None:
        """Nothing of the client is left."""
        self._process.terminate()
        self._process.wait()

    def configure(self, text: str) -> None:
        """What wg-quick does with a file, but for the name server."""
        ours = ("Address", "DNS", "MTU")
        words = dict(line.split(" = ", 1) for line in text.splitlines() if " = " in line and not line.startswith("#"))
        kept = [line for line in text.splitlines() if not line.startswith(ours)]
        done = subprocess.run(
            ("ip", "netns", "exec", self._place.outside, "wg", "setconf", self.device, "/dev/stdin"),
            input="\n".join(kept) + "\n", capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        self._ip("address", "replace", words["Address"], "dev", self.device)
        self._ip("link", "set", "dev", self.device, "mtu", "1380", "up")
        for network in words["AllowedIPs"].split(","):
            self._ip("route", "replace", network.strip(), "dev", self.device)

    def handshakes(self) -> int:
        """When the last one was, in seconds of the epoch; 0: never."""
        said = self._place.run(self._place.outside, "wg", "show", self.device, "latest-handshakes").stdout.split()
        return int(said[1]) if len(said) > 1 else 0

    def _ip(self, *words: str) -> None:
        done = self._place.run(self._place.outside, "ip", *words)
        assert done.returncode == 0, done.stderr
