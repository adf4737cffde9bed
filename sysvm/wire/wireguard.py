"""WireGuard of a router, as documents say it: whose keys come in, and as which addresses."""

import msgspec


class WireGuardPeer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A client: its public key, and its one address."""

    key: str  # base64
    address: str


class WireGuard(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Peers outside come to `public` and are on `networks` as their addresses."""

    public: str
    port: int
    private_key: str  # base64
    address: str  # the router's own, with the prefix of the peers' range
    networks: tuple[str, ...]  # CIDRs that peers reach
    peers: tuple[WireGuardPeer, ...] = ()
