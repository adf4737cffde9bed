"""Limits: how much an account, a project or a domain may have, and how much it has.

    check_limit(tx, account_id, Kind.GUESTS)          # raises Refused when one more would be too much

Nothing is kept count of: what is used is counted in the tables when it is asked, so no counter can be wrong. The limits of
all domains above count too. A limit of -1 is none; admins of the root domain have none unless it was set for them.
"""

from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

import sqlalchemy as sa

from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.queries import settings
from sysvm.store.store import Tx

NO_LIMIT = -1
GIB = 1 << 30
ROOT_DOMAIN = 1
PROJECT_ACCOUNT, ADMIN_ACCOUNT = 5, 1


class Kind(IntEnum):
    """CloudStack's numbers."""

    GUESTS = 0
    PUBLIC_IPS = 1
    VOLUMES = 2
    SNAPSHOTS = 3
    TEMPLATES = 4
    PROJECTS = 5
    NETWORKS = 6
    VPCS = 7
    CPUS = 8
    MEMORY = 9
    PRIMARY_STORAGE = 10
    SECONDARY_STORAGE = 11


NAMES = {
    Kind.GUESTS: "user_vm", Kind.PUBLIC_IPS: "public_ip", Kind.VOLUMES: "volume", Kind.SNAPSHOTS: "snapshot",
    Kind.TEMPLATES: "template", Kind.PROJECTS: "project", Kind.NETWORKS: "network", Kind.VPCS: "vpc", Kind.CPUS: "cpu",
    Kind.MEMORY: "memory", Kind.PRIMARY_STORAGE: "primary_storage", Kind.SECONDARY_STORAGE: "secondary_storage",
}  # fmt: skip
# The last word of the setting with the default: max.account.<word>
SETTING = {
    Kind.GUESTS: "user.vms", Kind.PUBLIC_IPS: "public.ips", Kind.VOLUMES: "volumes", Kind.SNAPSHOTS: "snapshots",
    Kind.TEMPLATES: "templates", Kind.PROJECTS: "projects", Kind.NETWORKS: "networks", Kind.VPCS: "vpcs",
    Kind.CPUS: "cpus", Kind.MEMORY: "memory", Kind.PRIMARY_STORAGE: "primary.storage",
    Kind.SECONDARY_STORAGE: "secondary.storage",
}  # fmt: skip


class Standing(NamedTuple):
    """How much there may be and is; storage in GiB, memory in MiB."""

    most: int
    used: int


class Count(NamedTuple):
    """What is counted, and in which owned rows `t`."""

    amount: str
    rows: str


_GUESTS = "machine t left join service_offering o on o.id = t.service_offering_id where t.kind = 'guest' and t.removed is null"
_VOLUMES = "volume t where t.removed is null"
_PLACED = f"{_VOLUMES} and (t.image_id is null or t.host_id is not null)"  # what was uploaded and is on a store only
_TEMPLATES = "template t where t.removed is null and t.kind = 'USER'"
_CAPTURES = "('TEMPLATE', 'EXTRACT', 'MOVE')"  # queries.snapshots.CAPTURES
_SNAPSHOTS = f"snapshot t where t.removed is null and t.kind not in {_CAPTURES} and t.state <> 'Error'"
_STORED = (
    "(select account_id, domain_path, size_bytes from template where removed is null"
    " and kind in ('USER', 'VOLUME', 'SNAPSHOT')"
    " union all select account_id, domain_path, size_bytes from snapshot"
    f" where removed is null and kind not in {_CAPTURES} and state <> 'Error') t where 0 = 0"
)
COUNTS = {
    Kind.GUESTS: Count("count(*)", _GUESTS),
    Kind.PUBLIC_IPS: Count("count(*)", "public_ip t where t.state <> 'Free' and not t.system and t.account_id is not null"),
    Kind.VOLUMES: Count("count(*)", _VOLUMES),
    Kind.TEMPLATES: Count("count(*)", _TEMPLATES),
    Kind.PROJECTS: Count("count(*)", "project t where t.removed is null"),
    Kind.NETWORKS: Count("count(*)", "network t where t.removed is null and t.traffic_type = 'Guest'"),
    Kind.VPCS: Count("count(*)", "vpc t where t.removed is null"),
    Kind.CPUS: Count("coalesce(sum(coalesce(t.cpus, o.cpus, 0)), 0)", _GUESTS),
    Kind.MEMORY: Count("coalesce(sum(coalesce(t.memory_mb, o.memory_mb, 0)), 0)", _GUESTS),
    Kind.PRIMARY_STORAGE: Count("coalesce(sum(t.size_bytes), 0)", _PLACED),
    Kind.SNAPSHOTS: Count("count(*)", _SNAPSHOTS),
    Kind.SECONDARY_STORAGE: Count("coalesce(sum(t.size_bytes), 0)", _STORED),
}
IN_GIB = frozenset({Kind.PRIMARY_STORAGE, Kind.SECONDARY_STORAGE})


def used(tx: Tx, kind: Kind, *, account_id: int | None = None, domain_path: str = "") -> int:
    """How much an account has, or a domain with all below it; storage in bytes."""
    if kind not in COUNTS:
        return 0
    count = COUNTS[kind]
    text = f"select {count.amount} from {count.rows}"
    if account_id is not None:
        ((number,),) = tx.sql(f"{text} and t.account_id = :id", id=account_id)
    else:
        ((number,),) = tx.sql(f"{text} and t.domain_path like :path", path=f"{domain_path}%")
    return int(number)


def _used_by(tx: Tx, kind: Kind, column: str) -> dict[Any, int]:
    """How much there is by account_id or domain_path, in one query."""
    if kind not in COUNTS:
        return {}
    count = COUNTS[kind]
    return dict(tx.sql(f"select t.{column}, {count.amount} from {count.rows} group by t.{column}"))


def most_of_account(tx: Tx, kind: Kind, account_id: int, account_type: int) -> int:
    """The limit of an account: its own, or the default of its kind."""
    own = _own(tx, kind, "account_id", account_id)
    if own is not None:
        return own
    return _default_of_type({who: _default(tx, who, kind) for who in ("account", "project")}, account_type)


def most_of_domain(tx: Tx, kind: Kind, domain_id: int) -> int:
    """The limit of a domain; ROOT has none."""
    if domain_id == ROOT_DOMAIN:
        return NO_LIMIT
    own = _own(tx, kind, "domain_id", domain_id)
    return own if own is not None else _default(tx, "domain", kind)


def _default(tx: Tx, who: str, kind: Kind) -> int:
    name = f"max.{who}.{SETTING[kind]}"
    return NO_LIMIT if settings.find(name) is None else int(settings.value(tx, name))


def _own(tx: Tx, kind: Kind, column: str, id_: int) -> int | None:
    assert column in ("account_id", "domain_id")
    rows = tx.sql(f"select max from resource_limit where resource_type = :kind and {column} = :id", kind=int(kind), id=id_)
    return int(rows[0][0]) if rows else None


def set_limit(tx: Tx, kind: Kind, most: int, *, account_id: int | None = None, domain_id: int | None = None) -> None:
    """From now on this is the limit."""
    table = tables.resource_limit
    tx.change(
        sa.delete(table).where(
            table.c.resource_type == int(kind), table.c.account_id == account_id, table.c.domain_id == domain_id
        )
    )
    tx.insert(table, resource_type=int(kind), account_id=account_id, domain_id=domain_id, max=most)


def standings_of_accounts(
    tx: Tx, accounts: Sequence[tuple[int, int]], kinds: Iterable[Kind] = tuple(Kind)
) -> dict[int, dict[Kind, Standing]]:
    """Limits and use of accounts, given as (id, type). A few queries, however many accounts."""
    found: dict[int, dict[Kind, Standing]] = {id_: {} for id_, _ in accounts}
    for kind in kinds:
        amounts = _used_by(tx, kind, "account_id")
        own = _own_by(tx, kind, "account_id")
        defaults = {who: _default(tx, who, kind) for who in ("account", "project")}
        for id_, type_ in accounts:
            most = own.get(id_, _default_of_type(defaults, type_))
            found[id_][kind] = Standing(most, _shown(kind, amounts.get(id_, 0)))
    return found


def _default_of_type(defaults: dict[str, int], type_: int) -> int:
    if type_ == ADMIN_ACCOUNT:
        return NO_LIMIT
    return defaults["project" if type_ == PROJECT_ACCOUNT else "account"]


def standings_of_domains(
    tx: Tx, domains: Sequence[tuple[int, str]], kinds: Iterable[Kind] = tuple(Kind)
) -> dict[int, dict[Kind, Standing]]:
    """Limits and use of domains with all below them, given as (id, path of ids)."""
    found: dict[int, dict[Kind, Standing]] = {id_: {} for id_, _ in domains}
    for kind in kinds:
        amounts = _used_by(tx, kind, "domain_path")
        own = {ROOT_DOMAIN: NO_LIMIT, **_own_by(tx, kind, "domain_id")}
        default = _default(tx, "domain", kind)
        for id_, path in domains:
            amount = sum(number for at, number in amounts.items() if at.startswith(path))
            found[id_][kind] = Standing(own.get(id_, default), _shown(kind, amount))
    return found


def _own_by(tx: Tx, kind: Kind, column: str) -> dict[Any, int]:
    text = f"select {column}, max from resource_limit where resource_type = :kind and {column} is not null"
    return dict(tx.sql(text, kind=int(kind)))


def _shown(kind: Kind, amount: int) -> int:
    return amount // GIB if kind in IN_GIB else amount


def check_limit(tx: Tx, account_id: int, kind: Kind, more: int = 1) -> None:
    """Raises Refused (535) when the account, or a domain above it, may not have `more`; storage in bytes."""
    account = tx.get(tables.account, account_id)
    assert account is not None
    scale = GIB if kind in IN_GIB else 1
    most = most_of_account(tx, kind, account_id, account.type)
    if most != NO_LIMIT and used(tx, kind, account_id=account_id) + more > most * scale:
        raise _too_much(kind, f"account {account.name}", most)
    for domain_id in map(int, account.domain_path.strip("/").split("/")):
        most = most_of_domain(tx, kind, domain_id)
        if most == NO_LIMIT:
            continue
        domain = tx.get(tables.domain, domain_id)
        assert domain is not None
        if used(tx, kind, domain_path=domain.id_path) + more > most * scale:
            raise _too_much(kind, f"domain {domain.name}", most)


def _too_much(kind: Kind, who: str, most: int) -> Refused:
    return Refused(f"Maximum number of resources of type '{NAMES[kind]}' for {who} has been exceeded: it is {most}",
                   Why.ALLOCATION)  # fmt: skip
