"""Keeps tunnels connected: begins what is missing, without waiting, and says how each tunnel is.

Charon alone tries again only after silence, not after a refusal, and not when the other side has ended it. So what is
missing is begun here, at once when it was connected, else after growing pauses. A try is a conversation with charon that stays
open until the next looks find its end; what charon says meanwhile tells why it failed.

Races: charon may end while a try goes on: the try has ended then, too. Both sides may begin at once: charon keeps one.
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sysvm.agent.roles.router.ipsec_tunnels import Site, judged, missing, reason, said
from sysvm.agent.roles.router.ipsec_vici import Charon, NoAnswer
from sysvm.basics.log import get_logger
from sysvm.wire.vpn import TunnelSeen, TunnelState

_LOOKS_BETWEEN = (1, 2, 4, 8)  # two tries, when one more has failed
_TRY_MS = "20000"
_LINES = 200
log = get_logger()


class Try:
    """One child of a connection is begun. Raises NoAnswer."""

    def __init__(self, charon: Charon, connection: str, child: str) -> None:
        self._charon = charon
        self._lines: list[str] = []
        words = {"ike": connection, "child": child, "timeout": _TRY_MS, "loglevel": "1"}
        charon.begin("initiate", "control-log", words)

    def end(self) -> str | None:
        """None while it goes on; else why it failed, empty when it did not."""
        try:
            for answer, words in self._charon.arrived():
                if answer:
                    self.close()
                    return "" if words.get("success") == "yes" else reason(self._lines, words.get("errmsg", "it failed"))
                self._lines = [*self._lines, str(words.get("msg", ""))][-_LINES:]
        except NoAnswer as error:
            self.close()
            return str(error)
        return None

    def close(self) -> None:
        """Nothing more is heard of it."""
        self._charon.close()


class Initiating:
    """The tunnels that are wanted, by the name of their connection."""

    def __init__(self, charon: Callable[[], Charon]) -> None:
        self._charon = charon
        self._wanted: dict[str, tuple[Site, tuple[str, ...]]] = {}
        self._tries: dict[tuple[str, str], Try] = {}
        self._why: dict[str, str] = {}  # of connections whose last try has failed
        self._failures: dict[str, int] = {}
        self._pause: dict[str, int] = {}

    def want(self, sites: Sequence[Site], *, kernel: bool) -> None:
        """These and no others; what is known of those that were wanted before stays."""
        connections = [(site, *site.connection(kernel=kernel)) for site in sites]
        self._wanted = {name: (site, tuple(words["children"])) for site, name, words in connections}
        for key in [key for key in self._tries if key[0] not in self._wanted]:
            self._tries.pop(key).close()
        for name in self._why.keys() - self._wanted.keys():
            self._forget(name)

    def again(self) -> None:
        """What has failed so far says nothing any more: what is missing is begun at the next look."""
        for going in self._tries.values():
            going.close()
        self._tries = {}
        for name in self._wanted:
            self._forget(name)

    def tend(self) -> tuple[TunnelSeen, ...]:
        """How every tunnel is, after what is missing has been begun."""
        if not self._wanted:
            return ()
        self._end_tries()
        try:
            with self._charon() as charon:
                known = set(charon.ask("get-conns").get("conns", ()))
                listed = charon.listed("list-sas", "list-sa")
        except NoAnswer as error:
            return tuple(said(site, TunnelState.DISCONNECTED, str(error)) for site, _ in self._wanted.values())
        return tuple(self._tended(name, name in known, listed) for name in self._wanted)

    def _tended(self, name: str, known: bool, listed: Mapping[str, Any]) -> TunnelSeen:
        site, children = self._wanted[name]
        if not known:
            return said(site, TunnelState.ERROR, "charon does not take it")
        associations = [each for key, each in listed.items() if key.split(" ")[0] == name]
        left = missing(children, associations)
        if not left:
            self._forget(name)
        elif not site.tunnel.passive:
            self._begin(name, left, is_busy=any(each.get("state") == "CONNECTING" for each in associations))
        return judged(site, left, self._why.get(name, ""))

    def _begin(self, name: str, children: Sequence[str], *, is_busy: bool) -> None:
        if is_busy or any(key[0] == name for key in self._tries):
            return
        waits = self._pause.get(name, 0)
        if waits > 0:
            self._pause[name] = waits - 1
            return
        with contextlib.suppress(NoAnswer):  # the next look tries again
            for child in children:
                self._tries[name, child] = Try(self._charon(), name, child)

    def _end_tries(self) -> None:
        for key, going in list(self._tries.items()):
            why = going.end()
            if why is None:
                continue
            del self._tries[key]
            if why:
                log.info("tunnel_not_connected", connection=key[0], why=why)
                self._why[key[0]] = why
                failures = self._failures[key[0]] = self._failures.get(key[0], 0) + 1
                self._pause[key[0]] = _LOOKS_BETWEEN[min(failures, len(_LOOKS_BETWEEN)) - 1]

    def _forget(self, name: str) -> None:
        for known in (self._why, self._failures, self._pause):
            known.pop(name, None)
