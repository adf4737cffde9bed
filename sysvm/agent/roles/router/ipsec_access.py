"""Remote access: who may log in at a router, as charon is told it. Pure.

Names carry a digest of what they name, so that equal names are equal things. The key's name in front of a user's name is
how long a login lasts: see `LOGINS`.
"""

import re
from ipaddress import IPv4Address, summarize_address_range

import msgspec

from sysvm.agent.roles.router.ipsec_vici import Message
from sysvm.agent.roles.router.service import Wrong, address, network
from sysvm.basics.digest import digest
from sysvm.wire.documents import RouterDocument
from sysvm.wire.vpn import VpnUser

IF_ID = "1"  # of the interface, where the kernel does ESP
LOGINS = "users-"  # connections of users are called so
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9@._-]{0,63}")
_PASSWORD = re.compile(r"(?!@/)[ -~]{1,128}")  # pppd takes what begins with @/ for the name of a file
_IKE = "aes256gcm16-aes128gcm16-prfsha384-prfsha256-curve25519-ecp256-modp2048"
_ESP = "aes256gcm16-aes128gcm16"
_OLDER = "aes256-aes128-sha384-sha256-sha1"
# What clients of L2TP propose: those built into systems know little more.
_L2TP_IKE = "aes256-aes128-3des-sha256-sha1-ecp384-ecp256-modp2048-modp1536-modp1024"
_L2TP_ESP = "aes256-aes128-3des-sha256-sha1"


class Access(msgspec.Struct, frozen=True):
    """Who may come in and where they are then."""

    public: str
    preshared_key: str
    first: str
    last: str
    networks: tuple[str, ...]
    dns: tuple[str, ...]
    users: tuple[VpnUser, ...]
    l2tp: bool = False  # some clients speak L2TP, and have the upper half of the range

    @property
    def middle(self) -> IPv4Address:
        """The last address of clients that speak IKEv2, where there are others."""
        first, last = IPv4Address(self.first), IPv4Address(self.last)
        return first + (int(last) - int(first) + 1) // 2 - 1

    @property
    def end(self) -> str:
        """The last address that charon gives."""
        return str(self.middle) if self.l2tp else self.last

    @property
    def pool(self) -> str:
        """The name of the clients' addresses."""
        return f"clients-{digest((self.first, self.end, self.dns))[:16]}"

    def pools(self) -> dict[str, Message]:
        """By name."""
        return {self.pool: {"addrs": f"{self.first}-{self.end}", "dns": self.dns}}

    def keys(self) -> dict[str, Message]:
        """Secrets by name; the user is the rest of the name, so that a key that goes says whose it was."""
        found: dict[str, Message] = {f"psk-{digest(self.preshared_key)[:16]}": {"type": "IKE", "data": self.preshared_key}}
        for user in self.users:
            name = f"user-{digest(user)[:16]}-{user.name}"
            found[name] = {"type": "EAP", "data": user.password, "owners": (user.name,)}
        return {name: {"id": name, **key} for name, key in found.items()}

    def connections(self, *, kernel: bool) -> dict[str, Message]:
        """By name."""
        interface = {"if_id_in": IF_ID, "if_id_out": IF_ID} if kernel else {}
        said = {
            "version": "2",
            "local_addrs": (self.public,),
            "proposals": (_IKE, f"{_OLDER}-curve25519-ecp256-modp2048", "default"),
            "encap": "yes",
            "unique": "never",  # a user may have several devices
            "dpd_delay": "30s",
            "pools": (self.pool,),
            "local": {"auth": "psk", "id": self.public},
            "remote": {"auth": "eap-mschapv2", "eap_id": "%any"},
            "children": {
                "net": {
                    "local_ts": self.networks,
                    "esp_proposals": (_ESP, _OLDER, "default"),
                    "dpd_action": "clear",
                    **interface,
                }
            },
        }
        # Logins end with what they were made by, the preshared key included.
        found: dict[str, Message] = {f"{LOGINS}{digest((said, self.preshared_key))[:16]}": said}
        if self.l2tp:
            calls = self._calls()
            found[f"l2tp-{digest((calls, self.preshared_key))[:16]}"] = calls
        return found

    def _calls(self) -> Message:
        """Whoever knows the preshared key may speak to L2TP's port; who it is, is asked by PPP."""
        child = {
            "mode": "transport",
            "local_ts": ("dynamic[udp/1701]",),
            "remote_ts": ("dynamic[udp]",),
            "esp_proposals": (_L2TP_ESP, "default"),
            "dpd_action": "clear",
        }
        return {
            "version": "1",
            "local_addrs": (self.public,),
            "proposals": (_L2TP_IKE, "default"),
            "encap": "yes",
            "unique": "never",
            "dpd_delay": "30s",
            "local": {"auth": "psk", "id": self.public},
            "remote": {"auth": "psk"},
            "children": {"l2tp": child},
        }

    def routes(self) -> frozenset[str]:
        """What lies behind the interface, as `ip` says it."""
        nets = summarize_address_range(IPv4Address(self.first), IPv4Address(self.end))
        return frozenset(str(net.network_address) if net.prefixlen == 32 else str(net) for net in nets)


def render(document: RouterDocument) -> Access | None:
    """Who may come in; None: nobody, ever. Raises Wrong."""
    vpn = document.vpn
    if vpn is None:
        return None
    first, last = address(vpn.first, "vpn"), address(vpn.last, "vpn")
    if IPv4Address(first) > IPv4Address(last):
        raise Wrong(f"vpn: {first}-{last} is no range of addresses", "give the lower address first")
    if len({user.name.lower() for user in vpn.users}) < len(vpn.users):
        raise Wrong("vpn: two users have the same name", "remove one of them")
    for user in vpn.users:
        if not _NAME.fullmatch(user.name) or not _PASSWORD.fullmatch(user.password):
            raise Wrong(f"vpn: {user.name!r} cannot be a user", "use letters, digits, @, dot, hyphen; give a password")
    return Access(
        public=address(vpn.public, "vpn"),
        preshared_key=vpn.preshared_key,
        first=first,
        last=last,
        networks=tuple(str(network(text, "vpn")) for text in vpn.networks),
        dns=tuple(address(text, "vpn") for text in vpn.dns),
        users=tuple(sorted(vpn.users, key=lambda user: user.name)),
    )
