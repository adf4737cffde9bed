"""What users of machines may send over the host's own IP: nothing. Pure text.

Each QEMU runs as a user of its own (owners.py) in the host's network namespace, where the host has addresses on the control
and the management segment. A guest speaks through its tap, which is no socket; whoever has broken out of one has sockets only,
and what they send is dropped and counted. Unix sockets are no matter of this.
"""

TABLE = "inet sysvm_users"


def users_ruleset(first: int, last: int) -> str:
    """The whole table, replaced in one transaction."""
    return (
        f"add table {TABLE}\ndelete table {TABLE}\ntable {TABLE} {{\n"
        "  chain output { type filter hook output priority 0; policy accept;\n"
        f"    meta skuid {first}-{last} counter drop\n"
        "  }\n}\n"
    )
