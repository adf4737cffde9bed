"""Connections that must end because the rule that made them has gone: the next owner of the address must not inherit them.

Only rewriting is looked at: static NAT, port forwards, source addresses. A firewall rule that goes keeps what was opened
through it, as CloudStack does. The table is listed once and only what matches is deleted, whatever the number of rules.
A connection that is born between the new ruleset and the listing was judged by the new ruleset.
"""

import re

import msgspec

from sysvm.agent.command import CommandFailed, finish
from sysvm.agent.roles.router.ruleset import Collection, Ruleset

_PAIR = re.compile(r"\b(src|dst|sport|dport)=(\S+)")


class Flow(msgspec.Struct, frozen=True):
    """A connection: as its sender sees it, and where its answers go."""

    protocol: str
    source: str
    destination: str
    source_port: str
    port: str
    answers_from: str
    answers_to: str


class Ended(msgspec.Struct, frozen=True):
    """What no longer leads where it led."""

    ports: frozenset[str] = frozenset()  # "address . protocol number . port"
    ranges: tuple[tuple[str, str, int, int], ...] = ()  # address, protocol number, first, last
    inward: frozenset[str] = frozenset()  # public addresses whose static NAT has gone
    outward: frozenset[tuple[str, str]] = frozenset()  # (guest, public) of static NAT

    def __bool__(self) -> bool:
        return bool(self.ports or self.ranges or self.inward or self.outward)

    def includes(self, flow: Flow) -> bool:
        """Whether the flow was made by a rule that has gone."""
        if f"{flow.destination} . {flow.protocol} . {flow.port}" in self.ports:
            return True
        if flow.destination in self.inward and flow.answers_from != flow.destination:
            return True
        if (flow.source, flow.answers_to) in self.outward:
            return True
        return any(
            (flow.destination, flow.protocol) == (public, protocol) and flow.port and first <= int(flow.port) <= last
            for public, protocol, first, last in self.ranges
        )


def ended(old: Ruleset, new: Ruleset) -> Ended:
    """Which rewritings of `old` are not in `new`."""
    before = {each.name: each for each in old.collections}
    after = {each.name: each for each in new.collections}

    def lost(name: str) -> list[tuple[str, str]]:
        empty = Collection(name, "")
        was, now = before.get(name, empty).elements, after.get(name, empty).elements
        return [(key, value) for key, value in was.items() if now.get(key) != value]

    return Ended(
        ports=frozenset(key for key, _ in lost("ports")),
        ranges=tuple(_range(key) for key, _ in lost("ranges")),
        inward=frozenset(key for key, _ in lost("static_in")),
        outward=frozenset(lost("static_out")),
    )


def _range(key: str) -> tuple[str, str, int, int]:
    public, protocol, span = key.split(" . ")
    first, _, last = span.partition("-")
    return public, protocol, int(first), int(last or first)


def parse(listing: str) -> list[Flow]:
    """The flows of `conntrack -L`; lines: name, number, timeout, [state], src= dst= ... src= dst= ..."""
    flows = []
    for line in listing.splitlines():
        words = line.split(maxsplit=2)
        pairs = _PAIR.findall(line)
        if len(words) < 3 or len(pairs) < 4:
            continue
        half = next((at for at, (key, _) in enumerate(pairs) if key == "src" and at > 0), len(pairs))
        there, back = dict(pairs[:half]), dict(pairs[half:])
        flows.append(
            Flow(
                words[1], there["src"], there["dst"], there.get("sport", ""), there.get("dport", ""),
                back.get("src", ""), back.get("dst", ""),
            )
        )  # fmt: skip
    return flows


def end_flows(gone: Ended) -> int:
    """Deletes the connections of rules that have gone; gives how many. Raises CommandFailed."""
    if not gone:
        return 0
    flows = [flow for flow in parse(_listed()) if gone.includes(flow)]
    commands = [_deletion(flow) for flow in flows]
    if commands:
        # A flow that has ended by itself meanwhile makes the program end with 1; that is as wanted.
        finish("conntrack", "--load-file", "-", said="\n".join(commands) + "\n")
    return len(commands)


def _listed() -> str:
    done = finish("conntrack", "-L", "-f", "ipv4")
    if done.code != 0:
        raise CommandFailed("conntrack", done.err.strip())
    return done.out


def _deletion(flow: Flow) -> str:
    ports = f" --sport {flow.source_port} --dport {flow.port}" if flow.port else ""
    return f"-D -f ipv4 -p {flow.protocol} -s {flow.source} -d {flow.destination}{ports}"
