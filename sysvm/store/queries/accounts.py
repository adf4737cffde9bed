"""Domains, accounts, users, roles and projects: their rows with the names around them, and how they come and go."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from sysvm.basics.errors import Refused, Why
from sysvm.basics.ids import Ids
from sysvm.store import tables
from sysvm.store.queries import (
    callers,
    machines,
    portable_ips,
    project_members,
    security_groups,
    snapshots,
    templates,
    turns,
    volumes,
    vpcs,
    vpn_sites,
    vpns,
)
from sysvm.store.queries.jobs import Part
from sysvm.store.store import Row, Tx

USER_TYPE, ADMIN_TYPE, DOMAIN_ADMIN_TYPE, PROJECT_TYPE = 0, 1, 2, 5
TYPE_OF_ROLE = {"Admin": ADMIN_TYPE, "ResourceAdmin": 3, "DomainAdmin": DOMAIN_ADMIN_TYPE, "User": USER_TYPE}
SYSTEM_ROWS = (1, 2)  # the accounts and users system and admin


# ---------------------------------------------------------------- rows
def accounts() -> sa.Select[Any]:
    """Accounts that people have, with role and domain."""
    account, role, domain = tables.account, tables.role, tables.domain
    return (
        sa.select(
            account,
            role.c.uuid.label("role_uuid"),
            role.c.name.label("role_name"),
            role.c.type.label("role_type"),
            domain.c.uuid.label("domain_uuid"),
            domain.c.name.label("domain_name"),
            domain.c.path.label("domain_text"),
        )
        .join(role, role.c.id == account.c.role_id)
        .join(domain, domain.c.id == account.c.domain_id)
        .where(account.c.removed.is_(None), account.c.type != PROJECT_TYPE)
    )


def users() -> sa.Select[Any]:
    """Users with account, role and domain."""
    user, account, role, domain = tables.user, tables.account, tables.role, tables.domain
    return (
        sa.select(
            user,
            account.c.uuid.label("account_uuid"),
            account.c.name.label("account_name"),
            account.c.type.label("account_type"),
            account.c.domain_path.label("domain_path"),
            role.c.uuid.label("role_uuid"),
            role.c.name.label("role_name"),
            role.c.type.label("role_type"),
            domain.c.uuid.label("domain_uuid"),
            domain.c.name.label("domain_name"),
            domain.c.path.label("domain_text"),
            account.c.domain_id.label("domain_id"),
        )
        .join(account, account.c.id == user.c.account_id)
        .join(role, role.c.id == account.c.role_id)
        .join(domain, domain.c.id == account.c.domain_id)
        .where(user.c.removed.is_(None))
    )


def projects() -> sa.Select[Any]:
    """Projects with owner and domain."""
    project, domain = tables.project, tables.domain
    owner, own = tables.account.alias("owner"), tables.account.alias("own")
    return (
        sa.select(
            project,
            owner.c.name.label("owner_name"),
            own.c.name.label("project_account_name"),
            domain.c.uuid.label("domain_uuid"),
            domain.c.name.label("domain_name"),
        )
        .join(owner, owner.c.id == project.c.account_id)
        .join(own, own.c.id == project.c.project_account_id)
        .join(domain, domain.c.id == project.c.domain_id)
        .where(project.c.removed.is_(None))
    )


def users_of(tx: Tx, account_ids: Sequence[int]) -> dict[int, list[Row]]:
    """The users of accounts, by account."""
    found: dict[int, list[Row]] = {}
    for row in tx.all(users().where(tables.user.c.account_id.in_(account_ids)).order_by(tables.user.c.id)):
        found.setdefault(row.account_id, []).append(row)
    return found


def running_guests(tx: Tx, account_ids: Sequence[int]) -> dict[int, int]:
    """How many guests of each account run."""
    machine = tables.machine
    statement = (
        sa.select(machine.c.account_id, sa.func.count().label("amount"))
        .where(
            machine.c.kind == "guest",
            machine.c.removed.is_(None),
            machine.c.power == "running",
            machine.c.account_id.in_(account_ids),
        )
        .group_by(machine.c.account_id)
    )
    return {int(row.account_id): int(row.amount) for row in tx.all(statement)}


def domains_with_children(tx: Tx, ids: Sequence[int]) -> set[int]:
    """Which of these domains have domains below them."""
    domain = tables.domain
    statement = sa.select(domain.c.parent_id).where(domain.c.parent_id.in_(ids), domain.c.removed.is_(None)).distinct()
    return {row[0] for row in tx.all(statement)}


# ---------------------------------------------------------------- making
class NewUser(NamedTuple):
    """What a user begins with."""

    username: str
    password_hash: str
    firstname: str
    lastname: str
    email: str
    timezone: str = ""


class NewAccount(NamedTuple):
    """What an account begins with."""

    name: str
    role: Row
    domain: Row
    network_domain: str = ""
    details: dict[str, str] | None = None


def add_account(tx: Tx, ids: Ids, new: NewAccount, user: NewUser) -> int:
    """An account with its first user; the id of the account."""
    if _account_named(tx, new.name, new.domain.id) is not None:
        raise Refused(f"The specified account already exists: {new.name} in domain {new.domain.name}")
    account = tx.insert(
        tables.account, uuid=ids.uuid(), name=new.name, type=TYPE_OF_ROLE.get(new.role.type, USER_TYPE),
        role_id=new.role.id, domain_id=new.domain.id, domain_path=new.domain.id_path,
        network_domain=new.network_domain, details=new.details, created=tx.now,
    )  # fmt: skip
    add_user(tx, ids, account, new.domain.id, user)
    owner = {"account_id": account, "domain_id": new.domain.id, "domain_path": new.domain.id_path}
    security_groups.default_of(tx, owner)
    return account


def _account_named(tx: Tx, name: str, domain_id: int) -> Row | None:
    account = tables.account
    same = (account.c.name == name, account.c.domain_id == domain_id, account.c.removed.is_(None))
    return tx.one(sa.select(account).where(*same))


def add_user(tx: Tx, ids: Ids, account_id: int, domain_id: int, new: NewUser) -> int:
    """A user of an account; his name is unique in the domain."""
    check_username(tx, new.username, domain_id)
    return tx.insert(
        tables.user, uuid=ids.uuid(), account_id=account_id, created=tx.now, username=new.username,
        password_hash=new.password_hash, firstname=new.firstname, lastname=new.lastname, email=new.email,
        timezone=new.timezone,
    )  # fmt: skip


def check_username(tx: Tx, username: str, domain_id: int) -> None:
    """Refused when somebody in the domain has that name."""
    if callers.by_name(tx, username, domain_id) is not None:
        raise Refused(f"The user {username} already exists in this domain")


def add_domain(tx: Tx, ids: Ids, name: str, parent: Row, network_domain: str, uuid: str = "") -> int:
    """A domain below another one."""
    check_domain_name(tx, name, parent.id)
    domain = tx.insert(
        tables.domain, uuid=uuid or ids.uuid(), name=name, path=f"{parent.path}/{name}", id_path="",
        parent_id=parent.id, level=parent.level + 1, network_domain=network_domain, created=tx.now,
    )  # fmt: skip
    tx.update(tables.domain, domain, id_path=f"{parent.id_path}{domain}/")
    return domain


def check_domain_name(tx: Tx, name: str, parent_id: int | None) -> None:
    """Refused when a sibling has that name."""
    domain = tables.domain
    same = (domain.c.name == name, domain.c.parent_id == parent_id, domain.c.removed.is_(None))
    if tx.one(sa.select(domain.c.id).where(*same)) is not None:
        raise Refused(f"Domain with name {name} already exists for the parent")


def rename_domain(tx: Tx, row: Row, name: str) -> None:
    """The names of all domains below show it too; what they own does not change, for it carries ids."""
    check_domain_name(tx, name, row.parent_id)
    domain = tables.domain
    path = "/".join([*row.path.split("/")[:-1], name])
    for below in tx.all(sa.select(domain).where(domain.c.id_path.startswith(row.id_path, autoescape=True))):
        tx.update(domain, below.id, path=path + below.path[len(row.path) :])
    tx.update(domain, row.id, name=name)


# ---------------------------------------------------------------- leaving
def withdraw_account(tx: Tx, account_id: int) -> list[Part]:
    """Nobody of the account can act; its guests, networks and snapshots are wanted gone, which the parts wait for."""
    account, user = tables.account, tables.user
    for row in tx.all(sa.select(user.c.id).where(user.c.account_id == account_id, user.c.removed.is_(None))):
        remove_user(tx, row.id)
    parts = [*_guests_gone(tx, account_id), *_networks_gone(tx, account_id), *_vpcs_gone(tx, account_id)]
    parts += _data_gone(tx, account_id)
    template = tables.template
    for row in tx.all(sa.select(template.c.id).where(template.c.account_id == account_id, template.c.removed.is_(None))):
        parts += templates.drop_copies(tx, row.id)
    certificate = tables.ssl_certificate
    tx.change(sa.update(certificate).where(certificate.c.account_id == account_id).values(private_key=""))
    for table in (tables.ssh_key_pair, tables.user_data, tables.template, certificate):
        mine = (table.c.account_id == account_id, table.c.removed.is_(None))
        tx.change(sa.update(table).where(*mine).values(removed=tx.now))
    _projects_gone(tx, account_id)
    portable_ips.give_unused(tx, account_id)
    vpns.remove_users(tx, account_id)
    vpn_sites.remove_customers(tx, account_id)
    tx.change(sa.delete(tables.tag).where(tables.tag.c.account_id == account_id))
    tx.update(account, account_id, state="removed", removed=tx.now)
    return parts


def _guests(tx: Tx, account_id: int) -> Sequence[Row]:
    machine = tables.machine
    mine = (machine.c.account_id == account_id, machine.c.kind == "guest", machine.c.removed.is_(None))
    return tx.all(sa.select(machine).where(*mine))


def _guests_gone(tx: Tx, account_id: int) -> list[Part]:
    return [machines.want(tx, guest, "gone", forced=True) for guest in _guests(tx, account_id)]


def stop_guests(tx: Tx, account_id: int) -> list[Part]:
    """All running guests of the account are wanted stopped."""
    return [machines.want(tx, guest, "stopped") for guest in _guests(tx, account_id) if guest.wanted == "running"]


def _networks_gone(tx: Tx, account_id: int) -> list[Part]:
    network = tables.network
    mine = (network.c.account_id == account_id, network.c.removed.is_(None))
    found = tx.all(sa.select(network.c.id).where(*mine))
    for row in found:
        tx.update(network, row.id, state="Destroy")
    return [Part("network", row.id, turns.wish(tx, "network", row.id), "gone") for row in found]


def _vpcs_gone(tx: Tx, account_id: int) -> list[Part]:
    mine = tx.rows(tables.vpc, "account_id = :account and removed is null order by id", account=account_id)
    return [part for vpc in mine for part in vpcs.doom(tx, vpc.id)]


def _projects_gone(tx: Tx, account_id: int) -> None:
    """The project whose things the account had, if it is a project's."""
    for row in tx.rows(tables.project, "project_account_id = :account and removed is null", account=account_id):
        project_members.drop_all(tx, row.id)
        tx.update(tables.project, row.id, removed=tx.now, state="Disabled")


def _data_gone(tx: Tx, account_id: int) -> list[Part]:
    """Snapshots and data volumes; root volumes go with their guests."""
    mine = "account_id = :account and removed is null"
    dropped = [snapshots.drop(tx, row) for row in tx.rows(tables.snapshot, mine, account=account_id)]
    for row in tx.rows(tables.volume, f"{mine} and type != 'ROOT'", account=account_id):
        volumes.remove(tx, row)
    for group in (
        tables.security_group,
        tables.affinity_group,
        tables.instance_group,
        tables.guest_vlan_range,
        tables.project_member,
    ):
        living = (group.c.account_id == account_id, group.c.removed.is_(None))
        tx.change(sa.update(group).where(*living).values(removed=tx.now))
    return dropped


def remove_user(tx: Tx, user_id: int) -> None:
    """The user's keys and sessions end at once; his name is free again."""
    callers.end_sessions_of(tx, user_id)
    tx.update(tables.user, user_id, removed=tx.now, api_key=None, secret_key=None)


def in_domain(tx: Tx, row: Row) -> tuple[int, int]:
    """(domains below, accounts in it or below it)."""
    domain, account = tables.domain, tables.account
    below = domain.c.id_path.startswith(row.id_path, autoescape=True)
    domains = tx.value(
        sa.select(sa.func.count()).where(below, domain.c.id != row.id, domain.c.removed.is_(None)).select_from(domain)
    )
    inside = account.c.domain_path.startswith(row.id_path, autoescape=True)
    accounts_there = tx.value(sa.select(sa.func.count()).where(inside, account.c.removed.is_(None)).select_from(account))
    return int(domains), int(accounts_there)


def withdraw_domain(tx: Tx, row: Row, *, cleanup: bool) -> list[Part]:
    """Removes a domain; with `cleanup` all that is in it and below it, else only an empty one."""
    domains, accounts_there = in_domain(tx, row)
    if (domains or accounts_there) and not cleanup:
        raise Refused(
            f"Failed to delete domain {row.name}: it still has {domains} domains and {accounts_there} accounts; delete them"
            " or pass cleanup=true",
            Why.IN_USE,
        )
    account, domain = tables.account, tables.domain
    inside = account.c.domain_path.startswith(row.id_path, autoescape=True)
    there = tx.all(sa.select(account.c.id).where(inside, account.c.removed.is_(None)))
    parts = [part for found in there for part in withdraw_account(tx, found.id)]
    below = domain.c.id_path.startswith(row.id_path, autoescape=True)
    tx.change(sa.update(domain).where(below, domain.c.removed.is_(None)).values(removed=tx.now, state="Inactive"))
    return parts


# ---------------------------------------------------------------- projects
def add_project(tx: Tx, ids: Ids, name: str, display_text: str, owner: Row) -> int:
    """A project with the account that its things belong to."""
    project = tables.project
    same = (project.c.name == name, project.c.domain_id == owner.domain_id, project.c.removed.is_(None))
    if tx.one(sa.select(project.c.id).where(*same)) is not None:
        raise Refused(f"Project with name {name} already exists in this domain")
    role = tx.value(sa.select(tables.role.c.id).where(tables.role.c.type == "User").order_by(tables.role.c.id).limit(1))
    own = tx.insert(
        tables.account, uuid=ids.uuid(), name=f"PrjAcct-{name}-{ids.number(1 << 31)}", type=PROJECT_TYPE, role_id=role,
        domain_id=owner.domain_id, domain_path=owner.domain_path, created=tx.now,
    )  # fmt: skip
    return tx.insert(
        project, uuid=ids.uuid(), name=name, display_text=display_text or name, project_account_id=own,
        account_id=owner.id, domain_id=owner.domain_id, domain_path=owner.domain_path, created=tx.now,
    )  # fmt: skip
