"""Templates and ISOs as answers show them: one row per template and zone."""

from typing import Any

from sysvm.api.answers.owners import without_empty
from sysvm.api.answers.times import stamp
from sysvm.api.rules import images
from sysvm.store.store import Row


def template(row: Row, *, may_see_url: bool) -> dict[str, Any]:
    """A template in one zone."""
    return without_empty({**_image(row, may_see_url), **_of_template(row)})


def on_primary(place: Row) -> dict[str, str]:
    """How far a template is on its way to one host's primary storage: an entry of downloaddetails."""
    ready = place.state == "ready"
    return {
        "datastore": f"{place.pool_name} of {place.host_name}",
        "downloadPercent": str(100 if ready else int(100 * place.progress)),
        "downloadState": "DOWNLOADED" if ready else "DOWNLOAD_IN_PROGRESS" if place.progress else "NOT_DOWNLOADED",
    }


def iso(row: Row, *, may_see_url: bool) -> dict[str, Any]:
    """An ISO in one zone."""
    return without_empty(_image(row, may_see_url))


def _image(row: Row, may_see_url: bool) -> dict[str, Any]:
    copy = images.Copy(row.copy_state or "", row.copy_progress or 0.0, row.copy_error or "")
    return {
        "id": row.uuid,
        "name": row.name,
        "displaytext": row.display_text or row.name,
        "created": stamp(row.created),
        "removed": stamp(row.removed),
        "isready": row.copy_id is not None and images.ready(copy),
        "status": images.status(copy) if row.copy_id is not None else None,
        "downloaddetails": _downloads(row, copy),
        "size": row.virtual_bytes or row.size_bytes or row.copy_bytes or None,
        "physicalsize": row.size_bytes or row.copy_bytes or None,
        "checksum": row.checksum or row.sha256 or None,
        "url": row.url if may_see_url and row.url else None,
        "ispublic": row.is_public,
        "isfeatured": row.is_featured,
        "isextractable": row.is_extractable,
        "bootable": row.is_bootable,
        "crossZones": row.cross_zones,
        "bits": row.bits,
        "arch": "x86_64",
        "ostypeid": row.os_uuid,
        "ostypename": row.os_name,
        "passwordenabled": row.password_enabled,
        "isdynamicallyscalable": row.is_dynamically_scalable,
        "directdownload": row.direct_download,
        "account": row.account_name,
        "accountid": row.account_uuid,
        "domain": row.domain_name,
        "domainid": row.domain_uuid,
        "zoneid": row.zone_uuid,
        "zonename": row.zone_name,
        "details": dict(row.details) if row.details else None,
        "hasannotations": False,
        "tags": [],
    }


def _of_template(row: Row) -> dict[str, Any]:
    return {
        "format": row.format,
        "hypervisor": row.hypervisor,
        "templatetype": row.kind,
        "templatetag": row.tag or None,
        "sshkeyenabled": row.ssh_key_enabled,
        "requireshvm": row.requires_hvm,
        "deployasis": row.deploy_as_is,
    }


def _downloads(row: Row, copy: images.Copy) -> list[dict[str, str]] | None:
    if row.copy_id is None:
        return None
    percent = 100 if copy.state == "DOWNLOADED" else int(copy.progress)
    return [
        {"datastore": row.store_name or "", "downloadPercent": str(percent), "downloadState": copy.state},
    ]
