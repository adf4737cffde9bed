"""A VPN client: strongSwan's own charon and swanctl in the outside namespace, with a folder and a socket of its own.

Unless it is given one, each client has an address of its own, because charon takes
nothing from one whose logins have failed a few times.
"""

import itertools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Protocol

from tests.agent.lab import until

SETTINGS = """
charon-systemd {{
    load = random nonce aes sha1 sha2 md5 hmac gcm kdf openssl pem x509 pkcs1 pubkey socket-default vici eap-identity \
eap-mschapv2 kernel-libipsec kernel-netlink
    plugins {{
        vici {{
            socket = unix://{folder}/vici
        }}
    }}
    filelog {{
        stderr {{
            default = 1
        }}
    }}
}}
swanctl {{
    plugins {{
        vici {{
            socket = unix://{folder}/vici
        }}
    }}
}}
"""
CONNECTION = """
connections {{
    home {{
        version = 2
        local_addrs = {source}
        remote_addrs = {public}
        vips = 0.0.0.0
        local {{
            auth = eap-mschapv2
            id = client
            eap_id = {user}
        }}
        remote {{
            auth = psk
            id = {public}
        }}
        children {{
            home {{
                remote_ts = {network}
            }}
        }}
    }}
}}
secrets {{
    ike-home {{
        id = {public}
        secret = "{key}"
    }}
    eap-home {{
        id = {user}
        secret = "{password}"
    }}
}}
"""


_numbers = itertools.count(101)


class Place(Protocol):
    """Where a client can be: the outside of a lab, or of a demo."""

    outside: str

    def spawn(self, namespace: str, *argv: str, **options: Any) -> subprocess.Popen[bytes]:
        """A process in a namespace."""

    def run(self, namespace: str, *argv: str) -> subprocess.CompletedProcess[str]:
        """A finished program in a namespace."""


class VpnClient:
    """One client on the outside; it logs in and out."""

    def __init__(self, place: Place, source: str = "") -> None:
        self._place = place
        self._lent = "" if source else f"203.0.113.{next(_numbers)}"
        self._source = source or self._lent
        if self._lent:
            self._place.run(self._place.outside, "ip", "address", "add", f"{self._lent}/24", "dev", "eth0")
        self._folder = Path(tempfile.mkdtemp(prefix="sysvm-vpn-", dir="/run"))
        (self._folder / "strongswan.conf").write_text(SETTINGS.format(folder=self._folder))
        self._environment = {**os.environ, "STRONGSWAN_CONF": str(self._folder / "strongswan.conf")}
        with (self._folder / "log").open("wb") as log:
            self._charon = place.spawn(place.outside, "charon-systemd", stdout=log, stderr=log, env=self._environment)
        until(lambda: self._swanctl("--stats").returncode == 0, "the client's charon")

    def close(self) -> None:
        """Nothing of the client is left."""
        self._charon.terminate()
        self._charon.wait()
        if self._lent:
            self._place.run(self._place.outside, "ip", "address", "del", f"{self._lent}/24", "dev", "eth0")
        shutil.rmtree(self._folder)

    def login(self, user: str, password: str, *, public: str, key: str, network: str) -> str:
        """Empty when the login has come to a tunnel, else what the client says."""
        words = {"user": user, "password": password, "public": public, "key": key, "network": network}
        text = CONNECTION.format(source=self._source, **words)
        (self._folder / "swanctl.conf").write_text(text)
        loaded = self._swanctl("--load-all", "--clear", "--file", str(self._folder / "swanctl.conf"))
        assert loaded.returncode == 0, loaded.stderr
        done = self._swanctl("--initiate", "--child", "home", "--timeout", "20")
        return "" if done.returncode == 0 else done.stdout + done.stderr

    def logout(self) -> None:
        """The client forgets its login, whether or not the router still knows of it."""
        self._swanctl("--terminate", "--ike", "home", "--force", "--timeout", "5")
        assert not self.is_in

    @property
    def address(self) -> str:
        """What the router has given; empty when there is none."""
        listed = self._place.run(self._place.outside, "ip", "-4", "-br", "address", "show", "dev", "ipsec0").stdout.split()
        return listed[2].partition("/")[0] if len(listed) > 2 else ""

    @property
    def is_in(self) -> bool:
        """Whether the client believes that it is logged in."""
        return "ESTABLISHED" in self._swanctl("--list-sas").stdout

    def log(self) -> str:
        """What its charon has said."""
        return (self._folder / "log").read_text()

    def _swanctl(self, *words: str) -> subprocess.CompletedProcess[str]:
        argv = ("ip", "netns", "exec", self._place.outside, "swanctl", *words)
        return subprocess.run(argv, env=self._environment, capture_output=True, text=True, check=False)
