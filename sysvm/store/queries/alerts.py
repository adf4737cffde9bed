"""Alerts: what an operator should look at, with the reason and the next step in its text.

Some types make a new row each time; others only while no unresolved one stands for the same place.
"""

from enum import IntEnum
from typing import Any

import sqlalchemy as sa

from sysvm.basics.ids import Ids, SystemIds
from sysvm.store import tables
from sysvm.store.queries import settings
from sysvm.store.store import Tx

_ids: Ids = SystemIds()


class AlertType(IntEnum):
    """CloudStack's numbers."""

    MEMORY = 0
    CPU = 1
    STORAGE = 2
    STORAGE_ALLOCATED = 3
    PUBLIC_IP = 4
    PRIVATE_IP = 5
    SECONDARY_STORAGE = 6
    HOST = 7
    USERVM = 8
    DOMAIN_ROUTER = 9
    CONSOLE_PROXY = 10
    ROUTING = 11
    STORAGE_MISC = 12
    USAGE = 13
    MANAGEMENT_SERVER = 14
    DOMAIN_ROUTER_MIGRATE = 15
    CONSOLE_PROXY_MIGRATE = 16
    USERVM_MIGRATE = 17
    VLAN = 18
    SSVM = 19
    USAGE_RESULT = 20
    STORAGE_DELETE = 21
    RESOURCE_COUNT = 22
    USAGE_SANITY = 23
    DIRECT_PUBLIC_IP = 24
    LOCAL_STORAGE = 25
    RESOURCE_EXCEED = 26
    SYNC = 27
    UPLOAD_FAILED = 28
    OOBM_AUTH_ERROR = 29
    HA_ACTION = 30
    CA_CERT = 31
    VM_SNAPSHOT = 32


NAMES = {
    AlertType.MEMORY: "ALERT.MEMORY",
    AlertType.CPU: "ALERT.CPU",
    AlertType.STORAGE: "ALERT.STORAGE",
    AlertType.STORAGE_ALLOCATED: "ALERT.STORAGE.ALLOCATED",
    AlertType.PUBLIC_IP: "ALERT.NETWORK.PUBLICIP",
    AlertType.PRIVATE_IP: "ALERT.NETWORK.PRIVATEIP",
    AlertType.SECONDARY_STORAGE: "ALERT.STORAGE.SECONDARY",
    AlertType.HOST: "ALERT.COMPUTE.HOST",
    AlertType.USERVM: "ALERT.USERVM",
    AlertType.DOMAIN_ROUTER: "ALERT.SERVICE.DOMAINROUTER",
    AlertType.CONSOLE_PROXY: "ALERT.SERVICE.CONSOLEPROXY",
    AlertType.ROUTING: "ALERT.NETWORK.ROUTING",
    AlertType.STORAGE_MISC: "ALERT.STORAGE.MISC",
    AlertType.USAGE: "ALERT.USAGE",
    AlertType.MANAGEMENT_SERVER: "ALERT.MANAGEMENT",
    AlertType.DOMAIN_ROUTER_MIGRATE: "ALERT.NETWORK.DOMAINROUTERMIGRATE",
    AlertType.CONSOLE_PROXY_MIGRATE: "ALERT.SERVICE.CONSOLEPROXYMIGRATE",
    AlertType.USERVM_MIGRATE: "ALERT.USERVM.MIGRATE",
    AlertType.VLAN: "ALERT.NETWORK.VLAN",
    AlertType.SSVM: "ALERT.SERVICE.SSVM",
    AlertType.USAGE_RESULT: "ALERT.USAGE.RESULT",
    AlertType.STORAGE_DELETE: "ALERT.STORAGE.DELETE",
    AlertType.RESOURCE_COUNT: "ALERT.RESOURCE.COUNT",
    AlertType.USAGE_SANITY: "ALERT.USAGE.SANITY",
    AlertType.DIRECT_PUBLIC_IP: "ALERT.NETWORK.DIRECTPUBLICIP",
    AlertType.LOCAL_STORAGE: "ALERT.STORAGE.LOCAL",
    AlertType.RESOURCE_EXCEED: "ALERT.RESOURCE.EXCEED",
    AlertType.SYNC: "ALERT.TYPE.SYNC",
    AlertType.UPLOAD_FAILED: "ALERT.UPLOAD.FAILED",
    AlertType.OOBM_AUTH_ERROR: "ALERT.OOBM.AUTHERROR",
    AlertType.HA_ACTION: "ALERT.HA.ACTION",
    AlertType.CA_CERT: "ALERT.CA.CERT",
    AlertType.VM_SNAPSHOT: "ALERT.VM.SNAPSHOT",
}
EACH_TIME = frozenset({7, 8, 9, 10, 12, 14, 19, 26, 28, 29, 30, 31})


def raise_alert(
    tx: Tx,
    type_: AlertType,
    subject: str,
    content: str = "",
    *,
    zone: int | None = None,
    pod: int | None = None,
    cluster: int | None = None,
) -> None:
    """Adds an alert, or counts up the unresolved one of the same place when its type is not a row each time.

    An alert with the very text of one that stands unresolved is counted on it, whatever its type: a condition that
    lasts is one alert, not one per look.
    """
    table = tables.alert
    same = sa.select(table.c.id, table.c.sent_count).where(
        table.c.type == int(type_), table.c.resolved.is_(None), table.c.zone_id == zone, table.c.pod_id == pod,
        table.c.cluster_id == cluster, table.c.archived.is_(False),
    )  # fmt: skip
    if int(type_) in EACH_TIME:
        same = same.where(table.c.subject == subject)
    standing = tx.one(same)
    if standing is not None:
        tx.update(table, standing.id, sent_count=standing.sent_count + 1, sent=tx.now)
        return
    add(
        tx, _ids.uuid(), type=int(type_), name=NAMES[type_], subject=subject, content=content or subject,
        zone_id=zone, pod_id=pod, cluster_id=cluster,
    )  # fmt: skip


def add(tx: Tx, uuid: str, **values: Any) -> int:
    """A row of its own, which is mailed when somebody is to have it (alert_mail.py). Returns its id."""
    to_mail = bool(settings.value(tx, "alert.email.addresses"))
    return tx.insert(tables.alert, uuid=uuid, sent=tx.now, to_mail=to_mail, **values)


OVER = """
update alert set resolved = :now where type = :type and resolved is null and coalesce(zone_id, 0) = :zone
and (:subject = '' or subject = :subject)
"""


def resolve(tx: Tx, type_: AlertType, *, zone: int | None = None, subject: str | None = None) -> None:
    """The condition is over: the next one makes a row of its own."""
    tx.sql(OVER, now=tx.now, type=int(type_), zone=zone or 0, subject=subject or "")
