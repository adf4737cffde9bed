"""The whole way of a packet: where it comes in, every base chain in the kernel's order, the route, where it goes. Pure but for
what it asks `Kernel`.

    arrival → [ingress] → prerouting → routing → input                    (for the router itself)
                                               → forward → postrouting    (for somebody else)
    the router's own: routing → output → postrouting

Address translation is asked once per direction: the first chain that rewrites ends the search of that hook's other NAT chains.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from sysvm.agent.roles.router.explaining import words
from sysvm.agent.roles.router.explaining.judging import Chain, Effect, Table, judge
from sysvm.agent.roles.router.explaining.live import Live, Route
from sysvm.agent.roles.router.explaining.owners import NOBODY, Owner, Owners
from sysvm.agent.roles.router.explaining.packet import Address, Packet
from sysvm.wire.explaining import Explained, Fate, PathStep

_HOOKS = {"ip": ("inet", "ip"), "ip6": ("inet", "ip6")}


@dataclass(frozen=True, slots=True)
class Kernel:
    """What only the kernel knows; see live.py."""

    route: Callable[[Packet], Route]
    neighbour: Callable[[str, str], str]
    listens: Callable[[Packet], bool | None]
    primary: Callable[[str, str], str]  # the first address of a device, of family ip or ip6


@dataclass(frozen=True, slots=True)
class Decided:
    """What ended the way, or let it go on last."""

    effect: Effect
    owner: Owner


class Way:
    """One packet's."""

    def __init__(self, live: Live, owners: Owners, kernel: Kernel, packet: Packet) -> None:
        self._live = live
        self._owners = owners
        self._kernel = kernel
        self._asked = packet
        self._packet = packet
        self._steps: list[PathStep] = []
        self._allowed: list[Decided] = []  # by a rule of the API, or by a policy
        self._rewritten: list[Decided] = []

    def explain(self) -> Explained:
        """From its arrival to its end."""
        back = self._kernel.route(replace(self._packet, destination=self._packet.source, source=_nobody(self._packet)))
        if back.is_local:
            return self._own()
        if not back.device:
            return self._lost("arrival", f"nothing leads to {self._packet.source}: {back.why}, so its side is unknown")
        self._packet = replace(self._packet, arrives=back.device)
        self._say("arrival", f"{self._packet.source} is reached through {back.device}, so the packet comes in there")
        return self._ends("ingress") or self._ends("prerouting") or self._routed()

    def _routed(self) -> Explained:
        route = self._kernel.route(self._packet)
        if not route.device:
            return self._lost("routing", f"there is no way to {self._packet.destination}: {route.why}")
        if route.is_local:
            self._say("routing", f"{self._packet.destination} is the router's own address")
            return self._ends("input") or self._arrived()
        self._packet = replace(self._packet, leaves=route.device)
        self._say("routing", words.routed(self._packet, route.gateway))
        return self._ends("forward") or self._ends("postrouting") or self._left(route)

    def _own(self) -> Explained:
        route = self._kernel.route(self._packet)
        if not route.device:
            return self._lost("routing", f"there is no way to {self._packet.destination}: {route.why}")
        self._packet = replace(self._packet, leaves=route.device)
        self._say("routing", f"the router sends it itself; {words.routed(self._packet, route.gateway)}")
        return self._ends("output") or self._ends("postrouting") or self._left(route)

    # ------------------------------------------------------------ hooks
    def _ends(self, hook: str) -> Explained | None:
        """The end, if one of the hook's chains is the end."""
        translated = False
        for table, chain in self._chains(hook):
            if chain.type == "nat" and translated:
                continue
            judged = judge(table, chain, self._packet)
            for effect in judged.effects:
                self._note(hook, table, effect)
            translated = translated or (chain.type == "nat" and judged.packet.status != self._packet.status)
            self._packet = self._finished(judged.packet, judged.effects)
            if judged.verdict in ("drop", "reject", "unknown"):
                return self._stopped(Fate(judged.verdict), table, judged.effects[-1])
        return None

    def _chains(self, hook: str) -> list[tuple[Table, Chain]]:
        families = ("netdev",) if hook == "ingress" else _HOOKS[self._packet.family]
        found = [
            (table, chain)
            for table in self._live.tables
            if table.name.split()[0] in families
            for chain in table.chains.values()
            if chain.hook == hook and chain.device in ("", self._packet.arrives)
        ]
        return sorted(found, key=lambda one: one[1].priority)

    def _finished(self, packet: Packet, effects: list[Effect]) -> Packet:
        """Masquerade and redirect take the address of an interface."""
        last = effects[-1].what if effects else ""
        if last == "masquerade" and (own := self._kernel.primary(packet.leaves, packet.family)):
            return replace(packet, source=type(packet.source)(own))
        if last == "redirect" and (own := self._kernel.primary(packet.arrives, packet.family)):
            return replace(packet, destination=type(packet.destination)(own))
        return packet

    def _note(self, hook: str, table: Table, effect: Effect) -> None:
        owner = self._owner(table, effect)
        decided = Decided(effect, owner)
        if effect.what == "accept" and (owner != NOBODY or words.is_policy(effect)):
            self._allowed.append(decided)
        if effect.what.startswith(("dnat", "snat")) and owner != NOBODY:
            self._rewritten.append(decided)
        self._steps.append(
            PathStep(
                place=hook,
                words=words.of(effect, owner, self._packet, is_ours=self._is_ours(effect)),
                effect=effect.what,
                table=table.name,
                chain=effect.chain.name,
                text=self._live.text(effect.rule) if effect.rule is not None else f"policy {effect.chain.policy}",
                rule=owner.rule,
                kind=owner.kind,
            )
        )

    def _owner(self, table: Table, effect: Effect) -> Owner:
        if effect.rule is None:
            return NOBODY
        owners = [self._owners.of_element(table.name, hit) for hit in effect.hits]
        owners.append(self._owners.of_rule(effect.rule))
        return next((owner for owner in owners if owner != NOBODY), NOBODY)

    def _is_ours(self, effect: Effect) -> bool:
        return effect.rule is None or self._owners.is_ours(effect.rule)

    def _say(self, place: str, text: str) -> None:
        self._steps.append(PathStep(place=place, words=text))

    # ------------------------------------------------------------ ends
    def _arrived(self) -> Explained:
        packet = self._packet
        taken = self._kernel.listens(packet)
        if taken is not None:
            self._say("departure", words.taken(packet, taken))
        return self._accepted(f"the router itself gets it, at {words.end(packet)}")

    def _left(self, route: Route) -> Explained:
        packet = self._packet
        if not route.is_local:
            target = route.gateway or str(packet.destination)
            self._say("departure", words.neighbour(target, route.device, self._kernel.neighbour(route.device, target)))
        return self._accepted(f"it leaves through {packet.leaves} to {words.end(packet)}")

    def _accepted(self, where: str) -> Explained:
        last = self._allowed[-1] if self._allowed else None
        decided = _decisive(self._allowed) or _decisive(self._rewritten) or last
        text = f"{words.packet(self._asked)} passes: {where}"
        if int(self._packet.source) != int(self._asked.source):
            text += f" as {self._packet.source}"
        because = words.because(decided.effect, decided.owner) if decided is not None else ""
        return self._told(Fate.ACCEPT, text + because, decided.owner if decided is not None else NOBODY)

    def _stopped(self, fate: Fate, table: Table, effect: Effect) -> Explained:
        text = f"{words.packet(self._asked)} {words.STOPPED[fate]}: {self._steps[-1].words}"
        return self._told(fate, text, self._owner(table, effect))

    def _lost(self, place: str, text: str) -> Explained:
        self._say(place, text)
        return self._told(Fate.DROP, f"{words.packet(self._asked)} {words.STOPPED[Fate.DROP]}: {text}", NOBODY)

    def _told(self, fate: Fate, text: str, owner: Owner) -> Explained:
        packet = self._packet
        return Explained(
            fate=fate,
            words=text,
            rule=owner.rule,
            kind=owner.kind,
            source=str(packet.source),
            destination=str(packet.destination),
            port=packet.port,
            source_port=packet.source_port,
            arrives=packet.arrives,
            leaves=packet.leaves,
            steps=tuple(self._steps),
        )


def _decisive(found: list[Decided]) -> Decided | None:
    """The last one that a rule of the API stands behind."""
    return next((each for each in reversed(found) if each.owner != NOBODY), None)


def _nobody(packet: Packet) -> Address:
    return type(packet.destination)(0)
