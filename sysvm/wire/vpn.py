"""A router's remote access VPN, as documents say it."""

import msgspec


class VpnUser(msgspec.Struct, frozen=True, kw_only=True):
    """Who may log in."""

    name: str
    password: str


class RemoteAccess(msgspec.Struct, frozen=True, kw_only=True):
    """Clients outside log in at `public` and are on `networks` as one of the addresses `first` to `last`."""

    public: str
    preshared_key: str
    first: str
    last: str
    networks: tuple[str, ...]  # CIDRs that clients reach
    dns: tuple[str, ...] = ()
    users: tuple[VpnUser, ...] = ()
