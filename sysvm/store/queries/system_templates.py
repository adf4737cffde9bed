"""The system VM template as rows: one for each version and kind of host that it runs on, so that clients see which one a
system VM runs. The bytes are on the hosts themselves, put there with the host agent; nothing is downloaded."""

from sysvm.basics.ids import Ids, SystemIds
from sysvm.store import tables
from sysvm.store.queries import templates
from sysvm.store.queries.events import SYSTEM
from sysvm.store.store import Row, Tx

# By the hypervisor that a host reports.
FORMATS = {"LXC": "TAR", "KVM": "QCOW2", "Simulator": "RAW"}
CLASS_OF_RUNTIME = {"container": "LXC", "vm": "KVM", "simulated": "Simulator"}

_ids: Ids = SystemIds()


def ensure_reported(tx: Tx, host: Row, versions: tuple[str, ...], hypervisors: tuple[str, ...]) -> None:
    """A host has said which versions it has."""
    for version in versions:
        for hypervisor in hypervisors:
            if hypervisor in FORMATS:
                ensure_template(tx, version, hypervisor, host.zone_id)


THERE = """
select t.id, c.id from template t
left join template_copy c on c.template_id = t.id and c.zone_id = :zone and c.wanted and c.removed is null
where t.kind = 'SYSTEM' and t.version = :version and t.hypervisor = :hypervisor and t.removed is null limit 1
"""


def ensure_template(tx: Tx, version: str, hypervisor: str, zone_id: int) -> int:
    """The row of this version for this kind of host, usable in the zone."""
    found = tx.sql(THERE, version=version, hypervisor=hypervisor, zone=zone_id)
    id_ = int(found[0][0]) if found else _add(tx, version, hypervisor)
    if not found or found[0][1] is None:
        tx.insert(tables.template_copy, template_id=id_, zone_id=zone_id, state="BYPASSED", created=tx.now)
    return id_


def _add(tx: Tx, version: str, hypervisor: str) -> int:
    return tx.insert(
        tables.template,
        uuid=_ids.uuid(),
        unique_name=f"systemvm-{version}-{hypervisor}",
        name=f"SystemVM Template ({hypervisor})",
        display_text=f"SystemVM Template ({hypervisor}), version {version}",
        kind="SYSTEM",
        format=FORMATS[hypervisor],
        hypervisor=hypervisor,
        version=version,
        is_featured=True,
        guest_os_id=templates.default_os(tx),
        account_id=SYSTEM.account_id,
        domain_id=SYSTEM.domain_id,
        domain_path=SYSTEM.domain_path,
        created=tx.now,
    )
