"""VPNs of a router, as documents say them: clients that log in, and tunnels to other sites; and how tunnels are."""

from enum import StrEnum

import msgspec


class VpnUser(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who may log in."""

    name: str
    password: str


class RemoteAccess(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Clients outside log in at `public` and are on `networks` as one of the addresses `first` to `last`."""

    public: str
    preshared_key: str
    first: str
    last: str
    networks: tuple[str, ...]  # CIDRs that clients reach
    dns: tuple[str, ...] = ()
    users: tuple[VpnUser, ...] = ()


class TunnelState(StrEnum):
    """How a tunnel is, in CloudStack's words."""

    CONNECTING = "Connecting"
    CONNECTED = "Connected"
    DISCONNECTED = "Disconnected"
    ERROR = "Error"


class Tunnel(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Hosts of `local_networks` and of `remote_networks`, behind the gateway `remote`, see each other."""

    connection: str
    local: str
    remote: str  # address or name
    preshared_key: str
    local_networks: tuple[str, ...]
    remote_networks: tuple[str, ...]
    ike_policy: str  # aes128-sha1;modp1536,...
    esp_policy: str  # the group may be missing
    ike_version: str = "ike"  # ike | ikev1 | ikev2
    ike_lifetime_s: int = 86400
    esp_lifetime_s: int = 3600
    dpd: bool = False
    split: bool = False  # a security association for each remote network
    passive: bool = False  # the other side begins
    resets: int = 0  # another number: begun anew


class TunnelSeen(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a tunnel is, begun for the `resets`th time, and why it is not connected."""

    connection: str
    resets: int
    state: TunnelState
    why: str = ""
