"""Accounts: making, listing, changing, enabling and disabling, removing.

Whoever makes an account cannot give it more than he has himself. Removing one removes its guests and networks; the job
waits for them.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from sysvm.api import errors
from sysvm.api.answers import accounts as answers
from sysvm.api.before import hash_password
from sysvm.api.call import ADMIN, DOMAIN_ADMIN, RESOURCE_ADMIN, USER, Accepted, Call, One, Reply, Rows
from sysvm.api.handlers import handler, result
from sysvm.api.listing import Owned, list_rows
from sysvm.api.params import pairs
from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.queries import accounts, limits, settings
from sysvm.store.queries.accounts import NewAccount, NewUser
from sysvm.store.store import Row, Tx

RANK = {ADMIN: 3, RESOURCE_ADMIN: 2, DOMAIN_ADMIN: 1, USER: 0}
ROLE_OF_TYPE = {0: USER, 1: ADMIN, 2: DOMAIN_ADMIN, 3: RESOURCE_ADMIN}
ROOT_DOMAIN = 1


# ---------------------------------------------------------------- answers
def account_answers(tx: Tx, rows: Sequence[Row], *, with_limits: bool = True) -> list[dict[str, Any]]:
    """Accounts with their users, limits and use."""
    ids = [row.id for row in rows]
    users = accounts.users_of(tx, ids)
    running = accounts.running_guests(tx, ids)
    standings = limits.standings_of_accounts(tx, [(row.id, row.type) for row in rows]) if with_limits else {}
    return [
        answers.account(
            row,
            [answers.user(user) for user in users.get(row.id, [])],
            standings.get(row.id, {}),
            running.get(row.id, 0),
        )
        for row in rows
    ]


def account_answer(tx: Tx, account_id: int) -> dict[str, Any]:
    """One account."""
    return account_answers(tx, tx.all(accounts.accounts().where(tables.account.c.id == account_id)))[0]


@result("disableAccount")
def disabled(tx: Tx, job: Row) -> dict[str, Any]:
    """The account."""
    return account_answer(tx, job.instance_id)


# ---------------------------------------------------------------- making and listing
@handler("createAccount", before=hash_password)
def create_account(call: Call) -> Reply:
    """An account with its first user."""
    domain = call.row(tables.domain, "domainid") or call.tx.get(tables.domain, call.caller.domain_id)
    assert domain is not None
    check_password(call, domain.id)
    role = _role(call)
    if role is None:
        raise Refused("Neither account type nor role ID are given: pass roleid")
    check_role(call, role, domain)
    name = call.get("account") or call["username"]
    new = NewAccount(name, role, domain, call.get("networkdomain", ""), pairs(call.get("accountdetails")) or None)
    account = accounts.add_account(call.tx, call.ids, new, new_user(call))
    row = call.tx.get(tables.account, account)
    assert row is not None
    return One(account_answer(call.tx, account), call.about("Account", row), f"creating account {name}")


def new_user(call: Call) -> NewUser:
    """The user that createAccount and createUser describe; the hash was made before the transaction."""
    return NewUser(call["username"], call.extra, call["firstname"], call["lastname"], call["email"], call.get("timezone", ""))


def check_password(call: Call, domain_id: int) -> None:
    """Refused when the password is too short for the domain."""
    least = settings.value(call.tx, "user.password.policy.minimum.length", domain_id=domain_id)
    if len(call["password"]) < least:
        raise Refused(f"User password should contain at least {least} characters.")


def _role(call: Call) -> Row | None:
    role = call.row(tables.role, "roleid")
    if role is not None or "accounttype" not in call:
        return role
    type_ = ROLE_OF_TYPE.get(call["accounttype"])
    if type_ is None:
        raise errors.invalid(call.command.name, "accounttype", call["accounttype"])
    table = tables.role
    default = (table.c.type == type_, table.c.is_default, table.c.removed.is_(None))
    return call.tx.one(sa.select(table).where(*default).order_by(table.c.id))


def check_role(call: Call, role: Row, domain: Row) -> None:
    """Nobody gives more than he has, and root admins live in ROOT only."""
    if RANK[role.type] > RANK[call.caller.role_type]:
        raise Refused(f"User of role {call.caller.role_type} can not give role {role.name}", Why.NOT_ALLOWED)
    if role.type == ADMIN and domain.id != ROOT_DOMAIN:
        raise Refused(f"Invalid role {role.name} for an account in domain {domain.name}: root admins live in ROOT")


@handler("listAccounts")
def list_accounts(call: Call) -> Rows:
    """Accounts with limits and use; `details=min` leaves those out."""
    account = tables.account
    brief = call.get("details") == ("min",)

    def answer(tx: Tx, rows: Sequence[Row]) -> list[dict[str, Any]]:
        return account_answers(tx, rows, with_limits=not brief)

    equal = {"name": account.c.name, "state": account.c.state, "accounttype": account.c.type}
    owned = Owned(account.c.id, account.c.domain_id, account.c.domain_path)
    return list_rows(call, accounts.accounts(), account, answer, equal=equal, keyword=(account.c.name,), owned=owned)


# ---------------------------------------------------------------- changing
def named(call: Call) -> Row:
    """The account of `id`, or of `account` with `domainid`."""
    row = call.row(tables.account, "id") or call.named_account()
    if row is None:
        raise errors.missing(call.command.name, "id")
    return row


def _changeable(call: Call) -> Row:
    row = named(call)
    if row.id in accounts.SYSTEM_ROWS:
        raise Refused(f"The account {row.name} belongs to the cloud itself", Why.NOT_ALLOWED)
    role = call.tx.get(tables.role, row.role_id)
    if role is not None and RANK[role.type] > RANK[call.caller.role_type]:
        raise errors.no_access(call.caller.account_name, f"account {row.uuid}")
    return row


@handler("updateAccount")
def update_account(call: Call) -> Reply:
    """Name, role, network domain, details."""
    row = _changeable(call)
    changes: dict[str, Any] = {}
    if "newname" in call:
        changes["name"] = _free_name(call.tx, call["newname"], row)
    if "networkdomain" in call:
        changes["network_domain"] = call["networkdomain"]
    if "accountdetails" in call:
        changes["details"] = pairs(call["accountdetails"])
    role = call.row(tables.role, "roleid")
    if role is not None:
        domain = call.tx.get(tables.domain, row.domain_id)
        assert domain is not None
        check_role(call, role, domain)
        changes |= {"role_id": role.id, "type": accounts.TYPE_OF_ROLE.get(role.type, 0)}
    if changes:
        call.tx.update(tables.account, row.id, **changes)
    return One(account_answer(call.tx, row.id), call.about("Account", row), f"updating account {row.name}")


def _free_name(tx: Tx, name: str, row: Row) -> str:
    table = tables.account
    if not name.strip():
        raise Refused("The name of an account can't be empty")
    same = (table.c.name == name, table.c.domain_id == row.domain_id, table.c.removed.is_(None), table.c.id != row.id)
    if tx.one(sa.select(table.c.id).where(*same)) is not None:
        raise Refused(f"There already exists an account {name} in the domain")
    return name


@handler("enableAccount")
def enable_account(call: Call) -> Reply:
    """Its users can act again."""
    row = _changeable(call)
    call.tx.update(tables.account, row.id, state="enabled")
    return One(account_answer(call.tx, row.id), call.about("Account", row), f"enabling account {row.name}")


@handler("disableAccount")
def disable_account(call: Call) -> Reply:
    """Its users cannot act. Locked: its guests go on; disabled: they are stopped, too."""
    row = _changeable(call)
    if row.id == call.caller.account_id:
        raise Refused("Nobody disables his own account", Why.NOT_ALLOWED)
    call.tx.update(tables.account, row.id, state="locked" if call["lock"] else "disabled")
    parts = () if call["lock"] else tuple(accounts.stop_guests(call.tx, row.id))
    return Accepted(parts, call.about("Account", row), f"disabling account: {row.name}")


@handler("deleteAccount")
def delete_account(call: Call) -> Reply:
    """Gone with its users, guests and networks."""
    row = _changeable(call)
    if row.id == call.caller.account_id:
        raise Refused("Nobody deletes his own account", Why.NOT_ALLOWED)
    owned = tables.project
    mine = sa.select(owned.c.name).where(owned.c.account_id == row.id, owned.c.removed.is_(None))
    if (project := call.tx.value(mine)) is not None:
        raise Refused(f"The account {row.name} owns the project {project}: delete that first", Why.IN_USE)
    parts = tuple(accounts.withdraw_account(call.tx, row.id))
    return Accepted(parts, call.about("Account", row), f"deleting account {row.name}")
