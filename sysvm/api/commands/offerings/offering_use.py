"""Where offerings can be used, and by whose things. The account that a thing will belong to counts, not the caller who makes it
for that account; accounts of root admins are in no domain's way."""

from sysvm.api.call import Owner
from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.queries.accounts import ADMIN_TYPE
from sysvm.store.store import Row, Tx


def need_usable(tx: Tx, what: str, offering: Row, zone: Row, owner: Owner) -> None:
    """Refused where the offering is of other zones, or of domains that the owner is not in."""
    zones = _ids(offering.zone_ids)
    if zones and zone.id not in zones:
        raise Refused(f"{what} {offering.name} is not available in zone {zone.name}")
    domains = _ids(offering.domain_ids)
    if not domains or domains & {int(part) for part in owner.domain_path.split("/") if part}:
        return
    account = tx.get(tables.account, owner.account_id)
    if account is None or account.type != ADMIN_TYPE:
        name = account.name if account is not None else ""
        raise Refused(f"{what} {offering.name} is not available to the domain of account {name}", Why.NOT_ALLOWED)


def _ids(text: str | None) -> set[int]:
    return {int(part) for part in (text or "").split(",") if part}


def owner_of(row: Row) -> Owner:
    """Whose a thing is that is there already."""
    return Owner(row.account_id, row.domain_id, row.domain_path)
