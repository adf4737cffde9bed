"""The system VM template as rows: one for each version and kind of host that it runs on, so that clients see which one a
system VM runs; and which one the next incarnation of a system VM runs.

Those of the release are on the hosts themselves, put there with the host agent: nothing is downloaded (BYPASSED). Others are
registered, kind SYSTEM or ROUTING: they come to a zone and its primary storage as images, and a host takes the template out
of its image. Routers run the one that `router.template.<hypervisor>` names, all others the newest of kind SYSTEM.
"""

from dataclasses import dataclass

from sysvm.basics.errors import NotYet
from sysvm.basics.ids import Ids, SystemIds
from sysvm.store import tables
from sysvm.store.queries import alerts, pool_images, settings, templates
from sysvm.store.queries.alerts import AlertType
from sysvm.store.queries.events import SYSTEM
from sysvm.store.settings import SETTINGS
from sysvm.store.store import Row, Tx
from sysvm.wire.machines import Kind

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
    given = {"version": version, "hypervisor": hypervisor, "zone": zone_id}
    found = tx.once((THERE, *given.values()), lambda: tx.sql(THERE, **given), tables.template, tables.template_copy)
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


# ---------------------------------------------------------------- which one a system VM runs
# Simulated hosts stand for those of KVM.
SETTING = {"LXC": "router.template.lxc", "KVM": "router.template.kvm", "Simulator": "router.template.kvm"}

REGISTERED = """
select t.id from template t
join template_copy c on c.template_id = t.id and c.wanted and c.removed is null and c.state = 'DOWNLOADED' and c.error = ''
where t.kind in ('SYSTEM', 'ROUTING') and t.removed is null and t.hypervisor = :hypervisor and c.zone_id = :zone
order by t.id desc
"""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A template that a host has."""

    id: int
    version: str


def chosen(tx: Tx, machine: Row, host: Row, own: tuple[str, ...], runtime: str) -> Chosen:
    """What the machine's next incarnation on this host runs; `own`: the versions that came to the host with the release, the
    newest last. NotYet while what a setting names is on its way to the host."""
    hypervisor = CLASS_OF_RUNTIME[runtime]
    registered = _registered(tx, hypervisor, host.zone_id)
    found = _named(tx, registered, hypervisor, host) if machine.kind == Kind.ROUTER else None
    found = found or next((row for row in registered if row.kind == "SYSTEM" and _is_at(tx, row, host)), None)
    mine = ensure_template(tx, own[-1], hypervisor, host.zone_id)
    if found is None or (found.kind == "SYSTEM" and found.id < mine):
        return Chosen(mine, own[-1])
    return Chosen(found.id, found.version)


def _registered(tx: Tx, hypervisor: str, zone_id: int) -> list[Row]:
    """Registered templates of system VMs that the zone has, the newest first."""
    given = {"hypervisor": hypervisor, "zone": zone_id}
    ids = tx.once((REGISTERED, hypervisor, zone_id), lambda: tx.sql(REGISTERED, **given), tables.template, tables.template_copy)
    found = [tx.get(tables.template, id_) for (id_,) in ids]
    return [row for row in found if row is not None]


def _named(tx: Tx, registered: list[Row], hypervisor: str, host: Row) -> Row | None:
    """What the setting names and the host has; None: the newest one of kind SYSTEM."""
    setting = SETTINGS[SETTING[hypervisor]]
    wanted = str(settings.value(tx, setting.name, zone_id=host.zone_id) or "")
    fitting = sorted((row for row in registered if row.name == wanted), key=lambda row: row.kind != "ROUTING")
    if there := next((row for row in fitting if _is_at(tx, row, host)), None):
        return there
    for row in fitting:
        for coming in _places(tx, row, host):
            raise NotYet(2, f"template {row.name} is on its way to host {host.name}: {coming.note or 'it waits'}")
    if wanted not in ("", setting.default):
        place = "this host has" if fitting else "is ready in the zone"
        text = f"{setting.name} names {wanted!r}, and no such template {place}: routers run the newest of kind SYSTEM"
        remedy = "Register it, prepare it with prepareTemplate, or set another name"
        alerts.raise_alert(tx, AlertType.ROUTING, f"{text}. {remedy}", zone=host.zone_id, cluster=host.cluster_id)
    return None


def _places(tx: Tx, template: Row, host: Row) -> list[Row]:
    return [one for one in pool_images.of_zone(tx, template.id, host.zone_id) if one.host_id == host.id]


def _is_at(tx: Tx, template: Row, host: Row) -> bool:
    return any(one.state == "ready" for one in _places(tx, template, host))


def bring(tx: Tx, zone_id: int, host_id: int | None = None) -> None:
    """What the zone's settings name comes to its primary storage, or to that of one host."""
    for hypervisor in CLASS_OF_RUNTIME.values():
        for row in _registered(tx, hypervisor, zone_id):
            if row.name == settings.value(tx, SETTING[hypervisor], zone_id=zone_id):
                pool_images.want(tx, row, zone_id, host_id)


def names_one(tx: Tx, name: str, text: str, zone_id: int | None) -> bool:
    """Whether a value of `router.template.*` fits a template that is ready in the zone (None: in some zone)."""
    zones = [zone_id] if zone_id is not None else [row.id for row in tx.rows(tables.zone, "removed is null")]
    return text == SETTINGS[name].default or any(
        row.name == text
        for hypervisor in (one for one, setting in SETTING.items() if setting == name)
        for zone in zones
        for row in _registered(tx, hypervisor, zone)
    )
