"""Tunnels to other sites, as charon is told them, and what its answer means. Pure.

A connection's name carries a digest of everything about it, the key and the count of resets included: another name is
another connection, and what was made by the old one ends. Each side proves itself by the preshared key, which is known
by both addresses. ESP travels inside UDP, so that all that is opened are two ports, and only for the other gateway.

A proof by the key of remote access is one by the wrong key: charon tries all keys that fit the router's own name, but
whoever knows that key would have to speak from the other gateway's address, too.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from sysvm.agent.roles.router.ipsec_access import IF_ID
from sysvm.agent.roles.router.ipsec_vici import Message
from sysvm.agent.roles.router.service import Wrong, address, hostname, network
from sysvm.basics.digest import digest
from sysvm.wire.documents import RouterDocument
from sysvm.wire.vpn import Tunnel, TunnelSeen, TunnelState

_VERSIONS = {"ike": "0", "ikev1": "1", "ikev2": "2"}  # 0: begins with 2, takes both
_ADDRESS = re.compile(r"[0-9.]+")
_DPD_S = 30
_UP = ("INSTALLED", "REKEYING", "REKEYED")
_WORDS = (
    ("AUTHENTICATION_FAILED", "the other side refuses the preshared key or this address"),
    ("MAC mismatched", "the other side proves itself by another preshared key"),
    ("no shared key found", "the other side has another name than its address"),
    ("PAYLOAD_MALFORMED", "the other side cannot read what is sent: it may have another preshared key"),
    ("could not decrypt", "the other side's answer cannot be read: it may have another preshared key"),
    ("NO_PROPOSAL_CHOSEN", "the other side takes none of the IKE or ESP policies"),
    ("INVALID_KE_PAYLOAD", "the other side takes none of the groups of the policies"),
    ("TS_UNACCEPTABLE", "the other side has other networks"),
    ("INVALID_ID_INFORMATION", "the other side has other networks"),
    ("unable to resolve", "the name of the other side has no address"),
    ("retransmit", "the other side does not answer"),
)


class Site(msgspec.Struct, frozen=True):
    """A tunnel whose words have been checked."""

    tunnel: Tunnel
    remote_networks: tuple[str, ...]
    local_networks: tuple[str, ...]

    @property
    def splits(self) -> bool:
        """Whether each remote network has a security association of its own; IKEv1 knows no others."""
        return self.tunnel.split or self.tunnel.ike_version == "ikev1"

    def keys(self) -> dict[str, Message]:
        """The secret, by name."""
        owners, key = (self.tunnel.local, self.tunnel.remote), self.tunnel.preshared_key
        name = f"site-{digest((owners, key))[:16]}"
        return {name: {"id": name, "type": "IKE", "data": key, "owners": owners}}

    def connection(self, *, kernel: bool) -> tuple[str, Message]:
        """Its name, and what it is."""
        tunnel = self.tunnel
        lifetime = tunnel.ike_lifetime_s
        said: Message = {
            "version": _VERSIONS[tunnel.ike_version],
            "local_addrs": (tunnel.local,),
            "remote_addrs": (tunnel.remote,),
            "proposals": _proposals(tunnel.ike_policy),
            "rekey_time": f"{lifetime * 9 // 10}s",
            "over_time": f"{lifetime - lifetime * 9 // 10}s",
            "encap": "yes",
            "mobike": "no",
            "unique": "replace",
            "keyingtries": "1",
            "dpd_delay": f"{_DPD_S if tunnel.dpd else 0}s",
            "local": {"auth": "psk", "id": tunnel.local},
            "remote": {"auth": "psk", "id": tunnel.remote},
            "children": self._children(kernel=kernel),
        }
        return f"site-{digest((said, tunnel.preshared_key, tunnel.connection, tunnel.resets))[:16]}", said

    def _children(self, *, kernel: bool) -> dict[str, Message]:
        parts = [(each,) for each in self.remote_networks] if self.splits else [self.remote_networks]
        lifetime = self.tunnel.esp_lifetime_s
        plain = {
            "local_ts": self.local_networks,
            "esp_proposals": _proposals(self.tunnel.esp_policy),
            "life_time": f"{lifetime}s",
            "rekey_time": f"{lifetime * 9 // 10}s",
            "dpd_action": "clear" if self.tunnel.passive else "restart",
            **({"if_id_in": IF_ID, "if_id_out": IF_ID} if kernel else {}),
        }
        return {f"net{number}": {"remote_ts": part, **plain} for number, part in enumerate(parts, 1)}


def render(document: RouterDocument) -> tuple[Site, ...]:
    """The tunnels of a router. Raises Wrong with the connection's id."""
    return tuple(_site(tunnel) for tunnel in sorted(document.tunnels, key=lambda each: each.connection))


def _site(tunnel: Tunnel) -> Site:
    where = f"VPN connection {tunnel.connection}"
    address(tunnel.local, where)
    gateway(tunnel, where)
    if tunnel.ike_version not in _VERSIONS:
        raise Wrong(f"{where}: {tunnel.ike_version!r} is no version of IKE", "give ike, ikev1 or ikev2")
    if min(tunnel.ike_lifetime_s, tunnel.esp_lifetime_s) < 1:
        raise Wrong(f"{where}: a lifetime has to be a second at least", "give a longer one")
    return Site(
        tunnel,
        tuple(str(network(text, where)) for text in tunnel.remote_networks),
        tuple(str(network(text, where)) for text in tunnel.local_networks),
    )


def gateway(tunnel: Tunnel, where: str) -> str:
    """The address of the other side; empty where it has a name. Raises Wrong."""
    if _ADDRESS.fullmatch(tunnel.remote):
        return address(tunnel.remote, where)
    hostname(tunnel.remote, where)
    return ""


def _proposals(policy: str) -> tuple[str, ...]:
    return tuple(each.strip().replace(";", "-") for each in policy.split(","))


# ---------------------------------------------------------------- how they are
def missing(children: Collection[str], associations: Collection[Mapping[str, Any]]) -> tuple[str, ...]:
    """Children that no established association of the connection has."""
    there = {
        child["name"]
        for each in associations
        if each.get("state") == "ESTABLISHED"
        for child in each.get("child-sas", {}).values()
        if child.get("state") in _UP
    }
    return tuple(name for name in children if name not in there)


def reason(lines: Collection[str], fallback: str) -> str:
    """Why a try has failed, from what charon has said meanwhile."""
    for mark, words in _WORDS:
        if any(mark in line for line in lines):
            return words
    return fallback


def judged(site: Site, left: Collection[str], why: str) -> TunnelSeen:
    """`left`: children that are missing; `why`: of the last try that has ended, empty when none has."""
    if not left:
        return said(site, TunnelState.CONNECTED)
    if site.tunnel.passive:
        return said(site, TunnelState.DISCONNECTED, "the other side has not begun")
    return said(site, TunnelState.DISCONNECTED if why else TunnelState.CONNECTING, why)


def said(site: Site, state: TunnelState, why: str = "") -> TunnelSeen:
    """The words for the server."""
    return TunnelSeen(connection=site.tunnel.connection, resets=site.tunnel.resets, state=state, why=why)
