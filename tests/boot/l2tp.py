"""Users of a demo's VPN who speak L2TP.

A client is a VM of the template's own kernel and root (strongSwan, xl2tpd and pppd are in it), behind a NAT of its own, in a
namespace outside of the demo. What it is told is on its boot disk; a stand-in agent runs our commands.
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sysvm.images import agent_layer, cache_folder, ensure
from tests.agent.vpn_client import VpnClient
from tests.boot.outside import Outside
from tests.boot.vpn import greets, is_out
from tests.boot.world import World
from tests.images.machines import END, Line, disk, emulated

STANDIN = Path(__file__).parents[1] / "images/standin"
NAME, PASSWORD = "bob", "b+u=i@l-d_"
HERE, GATEWAY = "192.168.77.2", "192.168.77.1"
FILES = {
    "boot.json": '{{"name": "client"}}\n',
    "strongswan.conf": """
charon-systemd {{
    load = random nonce aes sha1 sha2 md5 hmac gcm kdf openssl pem x509 pkcs1 pubkey socket-default vici kernel-netlink
    install_routes = no
    filelog {{
        stderr {{
            default = 1
        }}
    }}
}}
""",
    "swanctl.conf": """
connections {{
    home {{
        version = 1
        remote_addrs = {public}
        proposals = aes256-sha256-modp2048,aes128-sha1-modp1024
        local {{
            auth = psk
        }}
        remote {{
            auth = psk
            id = {public}
        }}
        children {{
            home {{
                mode = transport
                local_ts = dynamic[udp/1701]
                remote_ts = dynamic[udp/1701]
                esp_proposals = aes256-sha256,aes128-sha1
            }}
        }}
    }}
}}
secrets {{
    ike-home {{
        secret = "{key}"
    }}
}}
""",
    "xl2tpd.conf": """
[global]
port = 1701
access control = no
[lac home]
lns = {public}
length bit = yes
pppoptfile = /sysvm/boot/options
""",
    "options": "name {user}\nnoauth\nnodefaultroute\nnoipv6\nnoccp\nmtu 1280\nmru 1280\nlogfd 2\n",
    "chap-secrets": '{user} * "{password}" *\n',
}
# A call as L2TP begins it, at the port as it is: what is answered.
PLAIN = """
import socket, struct, sys
words = [(0, 1), (2, 0x0100), (9, 7)]
body = b"".join(struct.pack("!HHHH", 0x8008, 0, kind, value) for kind, value in words)
body += struct.pack("!HHHI", 0x800A, 0, 3, 3) + struct.pack("!HHH", 0x8009, 0, 7) + b"who"
packet = struct.pack("!HHHHHH", 0xC802, 12 + len(body), 0, 0, 0, 0) + body
line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
line.settimeout(2)
line.sendto(packet, (sys.argv[1], 1701))
try:
    print(line.recv(2000).hex())
except OSError:
    pass
"""
READ = "import sys, urllib.request as web; print(web.urlopen(sys.argv[1], timeout=10).read().decode())"
_CONTROL, _LOG = "/run/xl2tpd/l2tp-control", "/tmp/xl2tpd.log"
_SHOW = "ip -4 -br address show dev ppp0 2> /dev/null"
_OVER = "remote IP address\\|authentication failed\\|Connection terminated\\|Maximum retries"
_BEGIN = (
    f"ip address add {HERE}/24 dev eth0; ip link set lo up; ip link set eth0 up; ip route add default via {GATEWAY};"
    " install -m 600 /sysvm/boot/chap-secrets /etc/ppp/chap-secrets; mkdir -p /run/xl2tpd;"
    " modprobe -a l2tp_ppp l2tp_netlink;"
    " STRONGSWAN_CONF=/sysvm/boot/strongswan.conf setsid charon-systemd > /tmp/charon.log 2>&1 &"
)


class L2tpClient:
    """The running VM."""

    def __init__(self, port: Line) -> None:
        self._port = port

    def begin(self) -> None:
        """The client has an address and its daemons; nobody is asked yet."""
        self._port.ask(_BEGIN)
        self._port.ask("until swanctl --stats; do sleep 0.2; done > /dev/null 2>&1")
        self._port.ask("swanctl --load-all --file /sysvm/boot/swanctl.conf")

    def protect(self) -> str:
        """IPsec with the router, by the preshared key; what the client says of it."""
        return self._port.ask("swanctl --terminate --ike home --force --timeout 5; swanctl --initiate --child home --timeout 30")

    def call(self) -> str:
        """Logs in; the address, or empty when it is refused or nobody answers."""
        self._port.ask(f"kill $(pidof xl2tpd); while pidof xl2tpd pppd; do sleep 0.1; done; rm -f {_CONTROL}")
        self._port.ask(f"setsid xl2tpd -D -c /sysvm/boot/xl2tpd.conf > {_LOG} 2>&1 &")
        self._port.ask(f"until [ -p {_CONTROL} ]; do sleep 0.1; done; echo 'c home' > {_CONTROL}")
        self._port.ask(f"for _ in $(seq 100); do grep -q '{_OVER}' {_LOG} && break; sleep 0.3; done")
        return self.address

    @property
    def address(self) -> str:
        """What the router has given; empty when the client is not logged in."""
        return self._port.ask(_SHOW).partition("UNKNOWN")[2].partition("peer")[0].strip()

    def page(self, address: str) -> str:
        """The page of a guest, as the client sees it."""
        self._port.ask("ip route replace 10.1.1.0/24 dev ppp0")
        return self._port.ask(f"python3 -c '{READ}' http://{address}/")

    def ask(self, command: str) -> str:
        """What a command says in the VM."""
        return self._port.ask(command)

    def log(self) -> str:
        """What its daemons have said."""
        return self._port.ask("tail -n 40 /tmp/charon.log /tmp/xl2tpd.log; ip address; ip xfrm policy")


@contextmanager
def l2tp_client(place: Outside, **words: str) -> Iterator[L2tpClient]:
    """A client that knows `public`, `key`, `user` and `password`; gone afterwards."""
    template, agent = ensure(cache_folder(), print), agent_layer(cache_folder(), print, STANDIN)
    for line in _NAT.strip().splitlines():
        assert place.run(place.outside, *line.split()).returncode == 0, line
    with tempfile.TemporaryDirectory(prefix="sysvm-l2tp-") as name:
        folder = Path(name)
        (folder / "boot").mkdir()
        for file, text in FILES.items():
            (folder / "boot" / file).write_text(text.format(**words))
        subprocess.run(["mksquashfs", folder / "boot", folder / "boot.img", "-quiet", "-no-progress"], check=True)
        line = "console=ttyS0 quiet panic=-1 net.ifnames=0 no_timer_check acpi=noirq"
        arguments = ["-kernel", template.vmlinuz, "-initrd", template.initrd, "-append", line]
        for image in (template.base, template.modules, agent.image, folder / "boot.img"):
            arguments += disk(image)
        arguments += ["-netdev", "tap,id=n,ifname=tap0,script=no,downscript=no", "-device", "virtio-net-pci,netdev=n,romfile="]
        with emulated(*map(str, arguments), namespace=place.outside) as machine:
            machine.port.until(END)
            yield L2tpClient(machine.port)


@contextmanager
def bob_is_in(demo: World, place: Outside) -> Iterator[Callable[[], None]]:
    """A user of the API has logged in by L2TP, and by IKEv2 beside it; gives a function by which bob logs in again.

    At the end bob is removed, is cut off both ways and stays outside.
    """
    client, public = demo.client, str(demo.machine("router")["publicip"])
    (ip,) = client.rows("listPublicIpAddresses", "publicipaddress", ipaddress=public)
    (network,) = client.rows("listNetworks", "network", id=ip["associatednetworkid"])
    vpn = client.job("createRemoteAccessVpn", publicipid=ip["id"])["remoteaccessvpn"]
    client.job("addVpnUser", username=NAME, password=PASSWORD)
    key = str(vpn["presharedkey"])
    known = {"public": public, "key": key, "user": NAME, "password": PASSWORD}
    with l2tp_client(place, **known) as caller, closing(VpnClient(place, place.address)) as other:

        def log_in() -> None:
            other.logout()
            assert "" == other.login(NAME, PASSWORD, public=public, key=key, network=str(network["cidr"])), other.log()
            assert "completed successfully" in caller.protect(), caller.log()
            addresses = (other.address, caller.call())
            assert ("10.1.2.2", "10.1.2.5") == addresses, f"{addresses}\n{caller.log()}"
            demo.until(lambda: "tiny guest one" in caller.page(demo.machine("one")["ipaddress"]), "guest one to answer")
            demo.until(lambda: greets(demo, place), "guest one to answer by IKEv2")
            assert "" == place.run(place.outside, sys.executable, "-c", PLAIN, public).stdout, "somebody speaks without IPsec"

        caller.begin()
        log_in()
        yield log_in
        client.job("removeVpnUser", username=NAME)
        demo.until(lambda: is_out(other) and caller.address == "", "the clients to be told")
        assert "" == caller.call(), "bob is no user any more"
    client.job("deleteRemoteAccessVpn", publicipid=ip["id"])


_NAT = f"""
ip tuntap add tap0 mode tap
ip address add {GATEWAY}/24 dev tap0
ip link set tap0 up
sysctl -q -w net.ipv4.ip_forward=1
nft add table ip nat
nft add chain ip nat out {{ type nat hook postrouting priority 100 ; }}
nft add rule ip nat out oifname eth0 masquerade
"""
