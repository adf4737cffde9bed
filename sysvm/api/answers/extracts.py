"""What extractTemplate, extractIso, extractVolume and extractSnapshot answer. Pure."""

from typing import Any

from sysvm.api.answers.times import stamp
from sysvm.store.store import Row

MODE = "HTTP_DOWNLOAD"


def extract(kind: str, row: Row, account: Row | None, zone: Row, url: str, created: float) -> dict[str, Any]:
    """Where this template, ISO, volume or snapshot can be downloaded."""
    return {
        "id": row.uuid,
        "name": row.name,
        "extractId": row.uuid,
        "accountid": account.uuid if account is not None else None,
        "state": "DOWNLOAD_URL_CREATED",
        "storagetype": kind,
        "zoneid": zone.uuid,
        "zonename": zone.name,
        "extractMode": MODE,
        "url": url,
        "created": stamp(created),
    }
