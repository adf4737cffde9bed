"""Which routers run a system VM template that is older than may be, and what becomes of changes for them."""

from collections.abc import Sequence

from sysvm.basics.errors import Refused, Why
from sysvm.store.queries import settings
from sysvm.store.store import Row, Tx
from sysvm.systemvms.versions import is_older

MINIMUM_VERSION = "minreq.sysvmtemplate.version"
UNKNOWN = ("", "UNKNOWN")


def minimum(tx: Tx, zone_id: int) -> str:
    """The oldest version that routers of the zone may run; empty: any."""
    return str(settings.value(tx, MINIMUM_VERSION, zone_id=zone_id) or "")


def need_young_enough(tx: Tx, running: Sequence[Row]) -> None:
    """Raises Refused for changes of routers that run what is older than the zone's minimum. Rules that are there already keep
    working, and it can be started, stopped, rebooted and destroyed."""
    if not running or not settings.value(tx, "router.version.check"):
        return
    for row in running:
        oldest = minimum(tx, row.zone_id)
        if row.template_version not in UNKNOWN and is_older(row.template_version, oldest):
            text = f"Unable to send command. Router requires upgrade: {row.name} runs {row.template_version}, {oldest} is"
            raise Refused(f"{text} the oldest that may be; use upgradeRouterTemplate", Why.UNAVAILABLE)
