"""The router's nftables table: NAT, firewall, egress, its own doors, counters. One transaction for every change.

While nobody else has touched nftables since our last transaction (the kernel's generation says so), a new document costs
only its difference. Otherwise, and at the agent's start, the whole table is written anew, still in one transaction, so
that packets never meet half of it; connections go on and counters keep their numbers. A transaction that the kernel
refuses leaves the old table. Forwarding is switched on only behind a ruleset, that of IPv6 only where one routes it.
"""

from collections.abc import Hashable
from pathlib import Path

from sysvm.agent import netlink
from sysvm.agent.command import CommandFailed, finish, run
from sysvm.agent.roles.router import conntrack, listing, rules, rules6
from sysvm.agent.roles.router.ruleset import TABLE, Names, Ruleset, change, whole
from sysvm.basics.log import get_logger
from sysvm.wire.channel import Counter, ServiceSeen
from sysvm.wire.documents import RouterDocument

# What the ruleset makes the kernel load; one by one, each a program that the kernel starts, it takes seconds under emulation.
_MODULES = (
    "nf_tables", "nf_conntrack", "nf_nat", "nft_chain_nat", "nft_ct", "nft_nat", "nft_masq", "nft_limit", "nft_objref",
    "nft_connlimit", "nf_conntrack_netlink",
)  # fmt: skip
_FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
_FORWARDING6 = Path("/proc/sys/net/ipv6/conf/all/forwarding")
log = get_logger()


class Nftables:
    """The service; remembers what it has put into the kernel, and at which generation."""

    name = "nftables"

    def __init__(self) -> None:
        self._live: Ruleset | None = None
        self._generation = -1

    def prepare(self) -> None:
        """Loads in one go what the first ruleset will need; only a kernel of one's own (a VM) lets it."""
        try:
            finish("modprobe", "-q", "-a", *_MODULES)
        except CommandFailed as error:
            log.warning("modules_not_loaded", why=str(error))

    def render(self, document: RouterDocument) -> Ruleset:
        """The whole table. Raises Wrong."""
        return rules.render(document)

    def stage(self, rendering: Ruleset) -> None:
        """The kernel says whether it would take the table; one that is there already, and right, is known from now on."""
        if not self.difference(rendering):
            return
        found = self._listed(terse=True) if netlink.has_table(TABLE.split()[1]) else None
        there = Names() if found is None else listing.names(found)
        run("nft", "--check", "-f", "-", said=whole(rendering, there))

    def apply(self, rendering: Ruleset) -> None:
        """Makes the kernel's table exactly `rendering`."""
        before = self._live
        if not self._apply_change(rendering):
            self._apply_whole(rendering)
        for path, value in _switches(rendering):
            if path.read_text().strip() != value:
                path.write_text(value)
        if before is not None and before != rendering:
            killed = conntrack.end_flows(conntrack.ended(before, rendering))
            if killed:
                log.info("connections_ended", count=killed)

    def difference(self, rendering: Ruleset) -> str:
        """The kernel's table against `rendering`; the listing is skipped when nobody else has changed anything."""
        for path, value in _switches(rendering):
            if path.read_text().strip() != value:
                return f"forwarding is {'off' if value == '1' else 'on'} ({path})"
        generation = netlink.ruleset_generation()
        if self._live == rendering and self._generation == generation:
            return ""
        found = self._listed()
        words = "the table is missing" if found is None else listing.difference(found, rendering)
        if not words:
            self._live, self._generation = rendering, generation
        else:
            self._live = None
        return words

    def fingerprint(self) -> Hashable:
        """The generation of the kernel's rulesets."""
        there = (path for path in (_FORWARDING, _FORWARDING6) if path.exists())
        return netlink.ruleset_generation(), *(path.read_text() for path in there)

    def daemons(self) -> tuple[ServiceSeen, ...]:
        """None: the kernel does it."""
        return ()

    def stop(self) -> None:
        """The rules stay until the machine is gone."""

    def counters(self) -> tuple[Counter, ...]:
        """Bytes per public address since its counters were first made."""
        try:
            numbers = netlink.counters(TABLE.split()[1])
        except netlink.Unanswered:
            return ()
        bytes_of: dict[str, dict[str, int]] = {}
        for name, count in numbers.items():
            way, address = rules.counter_address(name)
            bytes_of.setdefault(address, {})[way] = count
        return tuple(
            Counter(address=address, sent=both.get("out", 0), received=both.get("in", 0))
            for address, both in sorted(bytes_of.items())
        )

    def _apply_change(self, rendering: Ruleset) -> bool:
        if self._live is None or self._generation != netlink.ruleset_generation():
            return False
        text = change(self._live, rendering)
        if text is None:
            return False
        if not text:
            return True
        done = finish("nft", "-f", "-", said=text)
        if done.code != 0:
            log.warning("change_refused", why=done.err.strip()[:500])
            return False
        self._settled(rendering)
        return True

    def _apply_whole(self, rendering: Ruleset) -> None:
        generation = netlink.ruleset_generation()
        found = self._listed(terse=True) if netlink.has_table(TABLE.split()[1]) else None
        there = Names() if found is None else listing.names(found)
        run("nft", "-f", "-", said=whole(rendering, there))
        self._generation = generation
        self._settled(rendering)

    def _settled(self, rendering: Ruleset) -> None:
        # Ours was the only transaction since we knew the table if the generation has moved by one; otherwise the next
        # `difference` lists it.
        now = netlink.ruleset_generation()
        self._live = rendering
        self._generation = now if now == self._generation + 1 else -1

    def _listed(self, *, terse: bool = False) -> list[dict[str, object]] | None:
        done = finish("nft", *(("-t",) if terse else ()), "-nn", "-j", "list", "table", *TABLE.split())
        if done.code != 0:
            if "No such file" in done.err:
                return None
            raise CommandFailed("nft", done.err.strip())
        return listing.parse(done.out)


def _switches(rendering: Ruleset) -> list[tuple[Path, str]]:
    """What is forwarded; a kernel without IPv6 has only the first one, and a document that needs the other fails there."""
    six = rules6.is_routed(rendering)
    return [(_FORWARDING, "1"), *([(_FORWARDING6, "1" if six else "0")] if six or _FORWARDING6.exists() else [])]
