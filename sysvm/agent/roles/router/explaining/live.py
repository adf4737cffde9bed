"""Reads the live rules of this network namespace, and asks the kernel for routes. Changes nothing and sends nothing.

Rules are listed twice, for their meaning (JSON) and for their words; the kernel's generation says whether both are of the same
rules. Routes are the kernel's own answers for exactly this packet.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sysvm.agent import netlink
from sysvm.agent.command import CommandFailed, finish, run
from sysvm.agent.roles.router import listing
from sysvm.agent.roles.router.explaining.judging import Chain, Rule, Table
from sysvm.agent.roles.router.explaining.packet import TCP, UDP, Packet

_TRIES = 5
_FAMILIES = ("inet", "ip", "ip6", "netdev")
_NAMES = {TCP: "tcp", UDP: "udp", 1: "icmp", 58: "ipv6-icmp"}
_HANDLE = re.compile(r"(?P<text>.*?)(?: comment \"[^\"]*\")? # handle (?P<handle>\d+)")
_LISTENS = "0A"  # TCP's state in /proc/net/tcp


@dataclass(frozen=True, slots=True)
class Live:
    """The rules, and the words of each by table, chain and handle."""

    tables: tuple[Table, ...]
    words: dict[tuple[str, str, int], str]

    def text(self, rule: Rule) -> str:
        """The rule as nft writes it."""
        return self.words.get((rule.table, rule.chain, rule.handle), "")


def read() -> Live:
    """The whole ruleset. Raises CommandFailed."""
    for _ in range(_TRIES):
        before = netlink.ruleset_generation()
        objects = listing.parse(run("nft", "-nn", "-j", "list", "ruleset"))
        text = run("nft", "-a", "list", "ruleset")
        if netlink.ruleset_generation() == before:
            return Live(tables_of(objects), words_of(text))
    raise CommandFailed("nft", f"the rules changed {_TRIES} times while they were read")


def tables_of(objects: list[dict[str, Any]]) -> tuple[Table, ...]:
    """The tables of a listing; a bridge's are not asked for what is routed."""
    rules: dict[tuple[str, str], list[Rule]] = {}
    for each in (item["rule"] for item in objects if "rule" in item):
        rule = Rule(_table(each), each["chain"], each["handle"], each.get("comment", ""), tuple(each["expr"]))
        rules.setdefault((rule.table, rule.chain), []).append(rule)
    found = []
    for each in (item["table"] for item in objects if "table" in item):
        name = f"{each['family']} {each['name']}"
        if each["family"] not in _FAMILIES:
            continue
        chains = [_chain(item["chain"], rules) for item in objects if "chain" in item and _table(item["chain"]) == name]
        sets = (item[kind] for item in objects for kind in ("set", "map") if kind in item)
        collections = {item["name"]: item for item in sets if _table(item) == name}
        found.append(Table(name, {chain.name: chain for chain in chains}, collections))
    return tuple(found)


def _table(item: dict[str, Any]) -> str:
    return f"{item['family']} {item['table']}"


def _chain(item: dict[str, Any], rules: dict[tuple[str, str], list[Rule]]) -> Chain:
    return Chain(
        _table(item),
        item["name"],
        tuple(rules.get((_table(item), item["name"]), ())),
        item.get("type", ""),
        item.get("hook", ""),
        item.get("prio", 0),
        item.get("policy", "accept"),
        str(item.get("dev", "")),
    )


def words_of(text: str) -> dict[tuple[str, str, int], str]:
    """The rules of `nft -a list ruleset`, without their comments."""
    found, table, chain = {}, "", ""
    for line in text.splitlines():
        words = line.split()
        match words[:2]:
            case ["table", family]:
                table = f"{family} {words[2]}"
            case ["chain" | "set" | "map", name]:
                chain = name if words[0] == "chain" else ""
            case _ if chain and (match := _HANDLE.fullmatch(line.strip())):
                found[table, chain, int(match["handle"])] = match["text"]
    return found


# ---------------------------------------------------------------- routes
@dataclass(frozen=True, slots=True)
class Route:
    """Where a packet goes next. Empty `device`: nowhere, and `why` says why."""

    device: str = ""
    gateway: str = ""
    is_local: bool = False
    source: str = ""  # that the router itself would use
    why: str = ""


def route(packet: Packet) -> Route:
    """The kernel's answer for this packet; one that arrives nowhere is the router's own."""
    words = ["ip", "-j", "route", "get", str(packet.destination)]
    words += ["from", str(packet.source)] if packet.arrives or int(packet.source) else []
    words += ["iif", packet.arrives] if packet.arrives else []
    words += ["mark", str(packet.mark)] if packet.mark else []
    if packet.protocol in _NAMES:
        words += ["ipproto", _NAMES[packet.protocol]]
    if packet.protocol in (TCP, UDP) and packet.port:
        words += ["dport", str(packet.port)]
    done = finish(*words)
    if done.code != 0:
        return Route(why=done.err.strip().removeprefix("RTNETLINK answers: ") or "no route")
    (found,) = json.loads(done.out)
    if found.get("type") in ("unreachable", "blackhole", "prohibit"):
        return Route(why=f"the route is {found['type']}")
    return Route(found["dev"], found.get("gateway", ""), found.get("type") == "local", found.get("prefsrc", ""))


def neighbour(device: str, address: str) -> str:
    """What is known of a neighbour: "REACHABLE 02:00:..." or empty."""
    done = finish("ip", "-j", "neighbour", "show", address, "dev", device)
    found = json.loads(done.out or "[]") if done.code == 0 else []
    return " ".join([*found[0].get("state", ()), found[0].get("lladdr", "")]).strip() if found else ""


def primary(device: str, family: str) -> str:
    """The first address of a device; empty when it has none."""
    done = finish("ip", "-j", "-4" if family == "ip" else "-6", "address", "show", "dev", device)
    found = json.loads(done.out or "[]") if done.code == 0 else []
    return next((str(each["local"]) for link in found for each in link.get("addr_info", ())), "")


def listens(packet: Packet) -> bool | None:
    """Whether some process here takes what comes to this port; None: that is no matter of processes."""
    if packet.protocol not in (TCP, UDP):
        return None
    name = _NAMES[packet.protocol]
    for path in (f"/proc/net/{name}", f"/proc/net/{name}6"):
        if any(_takes(line.split(), packet) for line in Path(path).read_text().splitlines()[1:]):
            return True
    return False


def _takes(words: list[str], packet: Packet) -> bool:
    address, _, port = words[1].partition(":")
    if int(port, 16) != packet.port or (packet.protocol == TCP and words[3] != _LISTENS):
        return False
    own = packet.destination.packed
    raw = bytes.fromhex(address)
    groups = b"".join(raw[at : at + 4][::-1] for at in range(0, len(raw), 4))
    return not any(groups) or groups == own or groups == b"\0" * 10 + b"\xff\xff" + own
