"""Making the document of a host's security groups true, and keeping it so without a server.

The last document is on disk: a host agent that starts applies it again, and every few seconds it is compared with what the
kernel has, because a rule may be taken away by hand. What is equal costs one listing.
"""

import msgspec

from sysvm.basics.digest import digest
from sysvm.basics.log import get_logger
from sysvm.hosts.layout import Layout
from sysvm.hosts.network import HostNetwork
from sysvm.hosts.system.durable import write_durably
from sysvm.wire.link import HostReport
from sysvm.wire.security_groups import SecurityGroupsDocument

log = get_logger()


class SecurityGroups:
    """The security groups of a host."""

    def __init__(self, layout: Layout, network: HostNetwork) -> None:
        self._network = network
        self._file = layout.host / "security_groups.json"
        self._last = self._read()

    def _read(self) -> SecurityGroupsDocument | None:
        if not self._file.exists():
            return None
        return msgspec.json.decode(self._file.read_bytes(), type=SecurityGroupsDocument)

    async def apply(self, document: SecurityGroupsDocument) -> HostReport:
        """The kernel has it, read back; else the live digest is empty and the fault says what differs."""
        if document != self._last:
            write_durably(self._file, msgspec.json.encode(document))
            self._last = document
        differs = await self._network.ensure_groups(document)
        if not differs:
            return HostReport(live=digest(document))
        return HostReport(live="", faults=(f"security groups differ still: {differs[:500]}",))

    async def mend(self) -> None:
        """What was applied last is so again."""
        if self._last is None:
            return
        report = await self.apply(self._last)
        if report.faults:
            log.warning("security_groups_not_mended", why=report.faults)
