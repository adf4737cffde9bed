"""The network of a host: a namespace of its own with bridges, ports, the guard and the host's input rules.

`HostNetwork` (host.py) does; `plans.py`, `guard.py` and `input.py` decide. Nothing here configures addresses inside
machines: their agents do that from their boot data.
"""

from sysvm.hosts.network.host import HostNetwork, Underlay

__all__ = ["HostNetwork", "Underlay"]
