"""Connections on bridges whose ports are held to security groups, as text for nft and the kernel's switches.

The bridge family can ask for a connection's state only where the kernel has nf_conntrack_bridge; many have not. What all
have is br_netfilter, which shows bridged packets to the hooks of IP, where connections are tracked. It is switched on for
single bridges, in the host's own namespace, where there are no rules but ours. A packet of a known connection gets a
mark there, and the bridge family looks at the mark. Each bridge has a zone of its own: networks may use the same addresses.
"""

import hashlib
from collections.abc import Iterable

TABLE = "inet sysvm_track"
MARK = "0x00736700"
KNOWN = f"meta mark {MARK}"


def tracking_ruleset(bridges: Iterable[str]) -> str:
    """The whole table, replaced in one transaction."""
    names = sorted(bridges)
    lines = [f"add table {TABLE}", f"delete table {TABLE}"]
    if not names:
        return "\n".join([*lines, ""])
    quoted = ", ".join(f'"{name}"' for name in names)
    lines += [f"table {TABLE} {{", "  chain zones { type filter hook prerouting priority -300; policy accept;"]
    lines += [f'    iifname "{name}" ct zone set {_zone(name)}' for name in names]
    lines += ["  }", "  chain known { type filter hook prerouting priority -150; policy accept;"]
    lines += [f"    iifname {{ {quoted} }} ct state established,related meta mark set {MARK}", "  }", "}", ""]
    return "\n".join(lines)


def _zone(bridge: str) -> int:
    return 1 + int(hashlib.sha256(bridge.encode()).hexdigest(), 16) % 65534
