"""Volumes as the API lists them."""

from typing import Any

import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries import machine_rows


def statement() -> sa.Select[Any]:
    """Living volumes with the names around them."""
    volume, zone, machine, pool = tables.volume, tables.zone, tables.machine, tables.storage_pool
    disk, service, template = tables.disk_offering, tables.service_offering, tables.template
    host, pod, cluster = tables.host, tables.pod, tables.cluster
    account, domain, project = tables.account, tables.domain, tables.project
    joined = (
        volume.join(zone, zone.c.id == volume.c.zone_id)
        .join(account, account.c.id == volume.c.account_id)
        .join(domain, domain.c.id == volume.c.domain_id)
        .outerjoin(project, sa.and_(project.c.project_account_id == account.c.id, project.c.removed.is_(None)))
        .outerjoin(machine, machine.c.id == volume.c.machine_id)
        .outerjoin(service, service.c.id == machine.c.service_offering_id)
        .outerjoin(pool, pool.c.id == volume.c.pool_id)
        .outerjoin(host, host.c.id == volume.c.host_id)
        .outerjoin(pod, pod.c.id == host.c.pod_id)
        .outerjoin(cluster, cluster.c.id == host.c.cluster_id)
        .outerjoin(disk, disk.c.id == volume.c.disk_offering_id)
        .outerjoin(template, template.c.id == volume.c.template_id)
    )
    return (
        sa.select(
            volume,
            zone.c.uuid.label("zone_uuid"),
            zone.c.name.label("zone_name"),
            machine.c.uuid.label("machine_uuid"),
            machine.c.hostname.label("machine_name"),
            machine.c.display_name.label("machine_display_name"),
            machine.c.hypervisor.label("machine_hypervisor"),
            machine_rows.state_column.label("machine_state"),
            pool.c.uuid.label("pool_uuid"),
            pool.c.name.label("pool_name"),
            pool.c.scope.label("pool_scope"),
            pod.c.uuid.label("pod_uuid"),
            pod.c.name.label("pod_name"),
            cluster.c.uuid.label("cluster_uuid"),
            cluster.c.name.label("cluster_name"),
            disk.c.uuid.label("disk_offering_uuid"),
            disk.c.name.label("disk_offering_name"),
            disk.c.display_text.label("disk_offering_text"),
            service.c.uuid.label("service_offering_uuid"),
            service.c.name.label("service_offering_name"),
            service.c.display_text.label("service_offering_text"),
            template.c.uuid.label("template_uuid"),
            template.c.name.label("template_name"),
            template.c.display_text.label("template_text"),
            template.c.is_extractable.label("template_is_extractable"),
            account.c.name.label("account_name"),
            domain.c.uuid.label("domain_uuid"),
            domain.c.name.label("domain_name"),
            domain.c.path.label("domain_text"),
            project.c.uuid.label("project_uuid"),
            project.c.name.label("project_name"),
        )
        .select_from(joined)
        .where(volume.c.removed.is_(None))
    )
