"""What machines may say to the host itself over the bridges on which it has an address. Pure text.

The host has an address on the control and the management segment only. There it answers pings, and named TCP ports; what
it has asked itself may be answered. It never forwards: `ip_forward` is off in its namespace and the forward hook drops all but
what only crosses a bridge whose connections are tracked.
"""

from collections.abc import Iterable

TABLE = "inet sysvm_host"


def input_ruleset(bridges: Iterable[str], open_ports: Iterable[int], tracked: Iterable[str] = ()) -> str:
    """The whole table, replaced in one transaction."""
    names = ", ".join(f'"{name}"' for name in sorted(bridges))
    ports = ", ".join(map(str, sorted(open_ports)))
    rules = ["ct state established,related accept", "meta l4proto { icmp, ipv6-icmp } accept"]
    if ports:
        rules.append(f"tcp dport {{ {ports} }} accept")
    lines = [f"add table {TABLE}", f"delete table {TABLE}", f"table {TABLE} {{"]
    lines += ["  chain machines {", *(f"    {rule}" for rule in rules), "    counter drop", "  }"]
    lines.append("  chain input { type filter hook input priority 0; policy accept;")
    if names:
        lines.append(f"    iifname {{ {names} }} goto machines")
    lines += ["  }", "  chain forward { type filter hook forward priority 0; policy drop;"]
    lines += [f'    iifname "{name}" oifname "{name}" accept' for name in sorted(tracked)]
    lines += ["  }", "}", ""]
    return "\n".join(lines)
