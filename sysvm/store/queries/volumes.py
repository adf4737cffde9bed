"""Volumes as the API lists them."""

from typing import Any

import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries import machine_rows


def statement() -> sa.Select[Any]:
    """Living volumes with the names around them."""
    volume, zone, machine, pool = tables.volume, tables.zone, tables.machine, tables.storage_pool
    account, domain, project = tables.account, tables.domain, tables.project
    joined = (
        volume.join(zone, zone.c.id == volume.c.zone_id)
        .join(account, account.c.id == volume.c.account_id)
        .join(domain, domain.c.id == volume.c.domain_id)
        .outerjoin(project, sa.and_(project.c.project_account_id == account.c.id, project.c.removed.is_(None)))
        .outerjoin(machine, machine.c.id == volume.c.machine_id)
        .outerjoin(tables.service_offering, tables.service_offering.c.id == machine.c.service_offering_id)
        .outerjoin(pool, pool.c.id == volume.c.pool_id)
        .outerjoin(tables.host, tables.host.c.id == volume.c.host_id)
        .outerjoin(tables.pod, tables.pod.c.id == tables.host.c.pod_id)
        .outerjoin(tables.cluster, tables.cluster.c.id == tables.host.c.cluster_id)
        .outerjoin(tables.disk_offering, tables.disk_offering.c.id == volume.c.disk_offering_id)
        .outerjoin(tables.template, tables.template.c.id == volume.c.template_id)
    )
    return sa.select(volume, *_names()).select_from(joined).where(volume.c.removed.is_(None))


def _names() -> list[sa.ColumnElement[Any]]:
    """What answers show of the rows around a volume."""
    zone, machine, pool, project = tables.zone.c, tables.machine.c, tables.storage_pool.c, tables.project.c
    disk, service, template = tables.disk_offering.c, tables.service_offering.c, tables.template.c
    return [
        zone.uuid.label("zone_uuid"),
        zone.name.label("zone_name"),
        machine.uuid.label("machine_uuid"),
        machine.hostname.label("machine_name"),
        machine.display_name.label("machine_display_name"),
        machine.hypervisor.label("machine_hypervisor"),
        machine_rows.state_column.label("machine_state"),
        pool.uuid.label("pool_uuid"),
        pool.name.label("pool_name"),
        pool.scope.label("pool_scope"),
        tables.pod.c.uuid.label("pod_uuid"),
        tables.pod.c.name.label("pod_name"),
        tables.cluster.c.uuid.label("cluster_uuid"),
        tables.cluster.c.name.label("cluster_name"),
        disk.uuid.label("disk_offering_uuid"),
        disk.name.label("disk_offering_name"),
        disk.display_text.label("disk_offering_text"),
        service.uuid.label("service_offering_uuid"),
        service.name.label("service_offering_name"),
        service.display_text.label("service_offering_text"),
        template.uuid.label("template_uuid"),
        template.name.label("template_name"),
        template.display_text.label("template_text"),
        template.is_extractable.label("template_is_extractable"),
        tables.account.c.name.label("account_name"),
        tables.domain.c.uuid.label("domain_uuid"),
        tables.domain.c.name.label("domain_name"),
        tables.domain.c.path.label("domain_text"),
        project.uuid.label("project_uuid"),
        project.name.label("project_name"),
    ]
