"""Making the host's document true: its segments, its relay, what machines may reach on the host itself.

Segments that are not named go with the last machine that is plugged in; until then they are no fault.
"""

import msgspec

from sysvm.basics.digest import digest
from sysvm.hosts.layout import Layout
from sysvm.hosts.network import HostNetwork
from sysvm.hosts.relay.process import ensure_relay
from sysvm.hosts.system.durable import write_durably
from sysvm.wire.documents import HostDocument
from sysvm.wire.link import HostReport
from sysvm.wire.machines import Segment, Traffic


class Document:
    """The host's document, and the last one that was applied."""

    def __init__(self, layout: Layout, network: HostNetwork) -> None:
        self._layout = layout
        self._network = network
        self._file = layout.host / "host.json"

    def last(self) -> HostDocument | None:
        """What was applied before; it is applied again when the host agent starts, with no server anywhere."""
        if not self._file.exists():
            return None
        return msgspec.json.decode(self._file.read_bytes(), type=HostDocument)

    async def apply(self, document: HostDocument) -> HostReport:
        """As much of it as can be is true; the rest are faults, and the live digest is empty."""
        write_durably(self._file, msgspec.json.encode(document))
        segments = tuple(_with_address(segment, document) for segment in document.segments)
        faults = await self._network.ensure_segments(segments, frozenset({document.relay_port}))
        await ensure_relay(self._layout, document)
        return HostReport(live="" if faults else digest(document), faults=faults)


def _with_address(segment: Segment, document: HostDocument) -> Segment:
    if segment.traffic is Traffic.MANAGEMENT and segment.gateway is None and document.management_address:
        return msgspec.structs.replace(segment, gateway=document.management_address)
    return segment
