"""Accounts in projects: adding, removing and listing them, and invitations where `project.invite.required` asks for them.

A member touches what is the project's; its owner, admins among the members, and admins of its domain change the project.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from sysvm.api import errors
from sysvm.api.answers import accounts as account_answers
from sysvm.api.call import PROJECT_ACCOUNT, Accepted, Call, Reply
from sysvm.api.handlers import handler
from sysvm.api.listing import Owned, list_rows, slice_rows
from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.queries import accounts, project_members, settings
from sysvm.store.queries.project_members import ADMIN, DECLINED, MEMBER, PENDING, REGULAR
from sysvm.store.store import Row, Tx

ABOUT = "Project"
EXPIRED = "Expired"
ROLES = {"admin": ADMIN, "regular": REGULAR}


def administered(call: Call, name: str) -> Row:
    """The project that a parameter names, if the caller may change it: 531 else."""
    row = call.need(tables.project, name)
    mine = project_members.find(call.tx, row.id, call.caller.account_id)
    is_admin = mine is not None and (mine.role, mine.state) == (ADMIN, MEMBER)
    if not is_admin and not call.caller.sees(row.account_id, row.domain_path):
        raise errors.no_access(call.caller.account_name, f"project {row.uuid}")
    return row


def account_beside(tx: Tx, project: Row, name: str) -> Row:
    """The account of that name in the domain of the project."""
    account = tables.account
    same = (account.c.name == name, account.c.domain_id == project.domain_id, account.c.removed.is_(None))
    found = tx.one(sa.select(account).where(*same, account.c.type != PROJECT_ACCOUNT))
    if found is None:
        raise Refused(f"Unable to find account {name} in the domain of the project")
    return found


# ---------------------------------------------------------------- accounts
@handler("addAccountToProject")
def add_account_to_project(call: Call) -> Reply:
    """In it at once, or invited."""
    row = administered(call, "projectid")
    if not call.get("account"):
        raise Refused("Must specify account; invitations are not mailed here")
    if call.get("projectroleid"):
        raise Refused("Projects have no roles of their own; pass roletype, Admin or Regular")
    role = ROLES.get(call.get("roletype", REGULAR).lower())
    if role is None:
        raise Refused(f"Invalid role type {call['roletype']}: it is Admin or Regular")
    account = account_beside(call.tx, row, call["account"])
    there = project_members.find(call.tx, row.id, account.id)
    about = call.about(ABOUT, row)
    if account.id == row.account_id or (there is not None and there.state == MEMBER):
        return Accepted((), about, f"Account {account.name} is in project {row.uuid} already")
    asks = bool(settings.value(call.tx, "project.invite.required"))
    if asks and there is not None and _state(call.tx, there) == PENDING:
        raise Refused(f"There is already a pending invitation for the account {account.name}", Why.IN_USE)
    project_members.put(call.tx, row.id, account.id, role, PENDING if asks else MEMBER)
    text = f"{'Inviting' if asks else 'Adding'} account {account.name} to project: {row.uuid}"
    return Accepted((), about, text)


@handler("deleteAccountFromProject")
def delete_account_from_project(call: Call) -> Reply:
    """What it made in the project stays the project's."""
    row = administered(call, "projectid")
    account = account_beside(call.tx, row, call["account"])
    if account.id == row.account_id:
        raise Refused("Unable to delete account from the project as the account is its owner; assign another one first")
    there = project_members.find(call.tx, row.id, account.id)
    if there is None or there.state != MEMBER:
        raise Refused(f"Account {account.name} is not assigned to the project {row.name}")
    project_members.drop(call.tx, there)
    return Accepted((), call.about(ABOUT, row), f"Removing account {account.name} from project: {row.uuid}")


@handler("listProjectAccounts")
def list_project_accounts(call: Call) -> Reply:
    """Who is in a project, its owner first."""
    row = call.need(tables.project, "projectid")
    owner = call.tx.one(accounts.accounts().where(tables.account.c.id == row.account_id))
    members = project_members.members(call.tx, row.id)
    found = [] if owner is None else [(owner.id, _named(row, owner, owner.uuid, owner.name, owner.type, ADMIN))]
    found += [(m.account_id, _named(row, m, m.account_uuid, m.account_name, m.account_type, m.role)) for m in members]
    users = accounts.users_of(call.tx, [account_id for account_id, _ in found])
    shown = [
        {**one, "user": [account_answers.user(user) for user in users.get(account_id, [])]}
        for account_id, one in found
        if _asked(call, one)
    ]
    return slice_rows(call, shown)


def _named(project: Row, row: Row, uuid: str, name: str, type_: int, role: str) -> dict[str, Any]:
    return {
        "projectid": project.uuid, "project": project.name, "accountid": uuid, "account": name, "accounttype": type_,
        "role": role, "domainid": row.domain_uuid, "domain": row.domain_name,
    }  # fmt: skip


def _asked(call: Call, one: dict[str, Any]) -> bool:
    role, name = call.get("role", ""), call.get("account", "")
    word = call.get("keyword", "").lower()
    return role.lower() in ("", one["role"].lower()) and name in ("", one["account"]) and word in one["account"].lower()


# ---------------------------------------------------------------- invitations
def _state(tx: Tx, row: Row) -> str:
    if row.state == PENDING and row.created + float(settings.value(tx, "project.invite.timeout")) < tx.now:
        return EXPIRED
    return str(row.state)


@handler("listProjectInvitations")
def list_project_invitations(call: Call) -> Reply:
    """To the caller's account, or by a project that he may change."""
    member, account = tables.project_member, tables.account
    statement = project_members.listing(PENDING, DECLINED)
    owned = Owned(account.c.id, account.c.domain_id, account.c.domain_path)

    def shown(tx: Tx, rows: Sequence[Row]) -> list[dict[str, Any]]:
        found = [_invitation(tx, row) for row in rows]
        wanted = call.get("state", "").lower() or ("pending" if call.get("activeonly") else "")
        return [one for one in found if wanted in ("", one["state"].lower())]

    if call.get("projectid"):
        project = administered(call, "projectid")
        return slice_rows(call, shown(call.tx, call.tx.all(statement.where(member.c.project_id == project.id))))
    return list_rows(call, statement, member, shown, owned=owned, keyword=(account.c.name,))


def _invitation(tx: Tx, row: Row) -> dict[str, Any]:
    return {
        "id": row.uuid, "projectid": row.project_uuid, "project": row.project_name, "account": row.account_name,
        "domainid": row.domain_uuid, "domain": row.domain_name, "state": _state(tx, row),
    }  # fmt: skip


@handler("updateProjectInvitation")
def update_project_invitation(call: Call) -> Reply:
    """The account that is invited comes, or does not."""
    project = call.need(tables.project, "projectid", check=False)
    account_id, name = call.caller.account_id, call.caller.account_name
    if call.get("account"):
        account = account_beside(call.tx, project, call["account"])
        call.check_access(tables.account, account)
        account_id, name = account.id, account.name
    there = project_members.find(call.tx, project.id, account_id)
    if there is None or there.state != PENDING:
        raise Refused(f"Unable to find an invitation of account {name} to project {project.name}")
    if _state(call.tx, there) == EXPIRED:
        raise Refused("The invitation is expired; ask for another one")
    accepts = bool(call.get("accept", True))
    project_members.put(call.tx, project.id, account_id, there.role, MEMBER if accepts else DECLINED)
    return Accepted((), call.about(ABOUT, project), f"{'Accepting' if accepts else 'Declining'} an invitation to {project.name}")


@handler("deleteProjectInvitation")
def delete_project_invitation(call: Call) -> Reply:
    """Nobody is invited any more."""
    row = call.need(tables.project_member, "id")
    project = call.tx.get(tables.project, row.project_id)
    if project is None or row.state == MEMBER:
        raise Refused(f"Unable to find project invitation by id {call['id']}")
    call.params["projectid"] = project.uuid
    administered(call, "projectid")
    project_members.drop(call.tx, row)
    return Accepted((), call.about(ABOUT, project), f"Deleting an invitation to project: {project.uuid}")
