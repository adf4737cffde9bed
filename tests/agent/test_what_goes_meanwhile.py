"""A service of a router that cannot be looked at, because what it is about goes at this moment."""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

from sysvm.agent.roles.router.role import Holder
from sysvm.wire.channel import ServiceSeen
from tests.agent.documents import router


class Leaving:
    """Its interface is there when it is made so, and gone when somebody looks."""

    name = "leaving"
    gone = False

    def __init__(self) -> None:
        self.looks = 0

    def render(self, document: Any) -> str:
        return "wanted"

    def apply(self, rendering: Any) -> None:
        pass

    def difference(self, rendering: Any) -> str:
        return Path("/proc/sys/net/ipv4/conf/nothing/rp_filter").read_text() if self.gone else ""

    def fingerprint(self) -> Hashable:
        self.looks += 1
        return self.looks

    def daemons(self) -> tuple[ServiceSeen, ...]:
        return ()

    def stop(self) -> None:
        pass


def test_what_cannot_be_looked_at_is_told_and_nobody_dies():
    """It is drift until it can be looked at again."""
    service = Leaving()
    holder = Holder(service)
    holder.make(router())
    assert (holder.fault, holder.is_live()) == (None, True)
    service.gone = True
    report = holder.drift()
    assert report is not None and not report.mended and "rp_filter" in report.difference
    assert not holder.is_live()
    service.gone = False
    assert holder.is_live()
