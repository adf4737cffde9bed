"""The host's network namespace: made, quieted, entered by commands, removed with everything in it.

IPv6 is off on what is made here unless it is switched on by name: a bridge that autoconfigures an address is a way from a
guest to its host. Bridged packets never pass iptables: somebody else's rules once rewrote all of a tenant's traffic.
"""

from pathlib import Path

from sysvm.basics.errors import Refused, Why
from sysvm.hosts.layout import Layout
from sysvm.hosts.system.commands import attempt
from sysvm.hosts.system.mounts import is_mounted
from sysvm.hosts.system.programs import run

_SWITCHES = Path("/proc/sys/net/bridge")
_SETTINGS = """
cd /proc/sys/net
echo 1 > ipv6/conf/default/disable_ipv6
echo 0 > ipv4/ip_forward
for name in iptables ip6tables arptables; do
    [ ! -e bridge/bridge-nf-call-$name ] || echo 0 > bridge/bridge-nf-call-$name
done
ip link set lo up
cat bridge/bridge-nf-call-iptables 2> /dev/null || echo 0
"""


class Namespace:
    """The namespace that `layout` names."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    async def ensure(self) -> None:
        """It exists and is quiet. Raises Refused where the kernel insists on iptables for bridged packets."""
        if not is_mounted(self._layout.namespace_path):
            self._layout.namespace_path.unlink(missing_ok=True)
            await run("ip", "netns", "add", self._layout.namespace)
        state = await run("nsenter", f"--net={self._layout.namespace_path}", "sh", "-ec", _SETTINGS)
        if state.strip() != "0":
            raise Refused("bridge-nf-call-iptables cannot be switched off in the host's namespace", Why.UNAVAILABLE)

    async def ensure_tracking(self) -> None:
        """Bridges here can show their packets to the hooks of IP. The module begins with a switch that does so for all bridges
        of a machine, its operator's own too: it is put back at once. Raises Refused where the kernel has no such module."""
        if _SWITCHES.is_dir():
            return
        await attempt("modprobe", "br_netfilter")
        if not _SWITCHES.is_dir():
            text = "security groups need a kernel that tracks connections on bridges (module br_netfilter)"
            raise Refused(text, Why.UNAVAILABLE)
        for name in ("iptables", "ip6tables", "arptables"):
            (_SWITCHES / f"bridge-nf-call-{name}").write_text("0")
        await self.ensure()

    async def remove(self) -> None:
        """It is gone, with all interfaces and rules in it."""
        await attempt("ip", "netns", "delete", self._layout.namespace)

    def exists(self) -> bool:
        """True when it has been made since the machine was booted."""
        return is_mounted(self._layout.namespace_path)

    async def ip(self, *words: str) -> str:
        """`ip` in the namespace."""
        return await run("ip", "-n", self._layout.namespace, *words)

    async def ip_batch(self, lines: list[str]) -> None:
        """Many `ip` lines at once, as far as the first that fails."""
        if lines:
            await run("ip", "-n", self._layout.namespace, "-batch", "-", stdin="\n".join([*lines, ""]).encode())

    async def bridge_batch(self, lines: list[str]) -> None:
        """The same for `bridge`."""
        if lines:
            await run("bridge", "-n", self._layout.namespace, "-batch", "-", stdin="\n".join([*lines, ""]).encode())

    async def bridge(self, *words: str) -> str:
        """`bridge` in the namespace."""
        return await run("bridge", "-n", self._layout.namespace, *words)

    async def nft(self, ruleset: str) -> None:
        """One atomic transaction of nft."""
        await run("nsenter", f"--net={self._layout.namespace_path}", "nft", "-f", "-", stdin=ruleset.encode())

    async def command(self, *words: str) -> str:
        """Any command in the namespace; it sees the machine's own /sys."""
        return await run("nsenter", f"--net={self._layout.namespace_path}", *words)
