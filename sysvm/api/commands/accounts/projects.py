"""Projects: things that belong to no person. Each has an account of its own, which owns them; its owner may touch them."""

from collections.abc import Sequence
from typing import Any

from sysvm.api.answers import accounts as answers
from sysvm.api.call import USER, Accepted, Call, Reply, Rows
from sysvm.api.commands.accounts.project_members import ROLES, account_beside, administered
from sysvm.api.handlers import handler, result
from sysvm.api.listing import Owned, list_rows, tags_of
from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.queries import accounts, limits, project_members, settings
from sysvm.store.queries.accounts import PROJECT_TYPE
from sysvm.store.queries.limits import Kind
from sysvm.store.queries.project_members import MEMBER
from sysvm.store.store import Row, Tx

TAGGED = "Project"


def project_answers(tx: Tx, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Projects with limits, use and tags."""
    owners = [row.project_account_id for row in rows]
    kinds = [kind for kind in Kind if kind is not Kind.PROJECTS]
    standings = limits.standings_of_accounts(tx, [(id_, PROJECT_TYPE) for id_ in owners], kinds)
    running = accounts.running_guests(tx, owners)
    tags = tags_of(tx, TAGGED, [row.id for row in rows])
    return [
        answers.project(row, tags.get(row.id, []), standings[row.project_account_id], running.get(row.project_account_id, 0))
        for row in rows
    ]


@result("createProject", "updateProject", "suspendProject", "activateProject")
def changed(tx: Tx, job: Row) -> dict[str, Any]:
    """The project."""
    return project_answers(tx, tx.all(accounts.projects().where(tables.project.c.id == job.instance_id)))[0]


@handler("listProjects")
def list_projects(call: Call) -> Rows:
    """Projects that the caller owns, is in or administers."""
    project = tables.project
    equal = {"name": project.c.name, "displaytext": project.c.display_text, "state": project.c.state}
    words = (project.c.name, project.c.display_text)
    statement, owned = accounts.projects(), None
    if _of_one_account(call):
        seats = project_members.seats()
        statement = statement.join(seats, seats.c.project_id == project.c.id)
        owned = Owned(seats.c.account_id, project.c.domain_id, project.c.domain_path)
    return list_rows(call, statement, project, project_answers, equal=equal, keyword=words, tagged=TAGGED, owned=owned)


def _of_one_account(call: Call) -> bool:
    """Whether the list comes down to what one account has to do with."""
    if "id" in call or call.get("projectid"):
        return False
    if call.get("account") or call.caller.role_type == USER:
        return True
    return not (call.get("listall") or call.get("ids") or call.get("domainid"))


@handler("createProject")
def create_project(call: Call) -> Reply:
    """A project of the caller or of an account that he administers."""
    if not settings.value(call.tx, "allow.user.create.projects") and not call.caller.is_root:
        raise Refused("Regular users are not permitted to create projects", Why.NOT_ALLOWED)
    given = call.row(tables.account, "accountid") or call.named_account()
    owner = given or call.tx.get(tables.account, call.caller.account_id)
    assert owner is not None
    limits.check_limit(call.tx, owner.id, Kind.PROJECTS)
    id_ = accounts.add_project(call.tx, call.ids, call["name"], call.get("displaytext", ""), owner)
    row = call.tx.get(tables.project, id_)
    assert row is not None
    return Accepted((), call.about("Project", row), f"creating project {row.name}")


@handler("updateProject")
def update_project(call: Call) -> Reply:
    """Its text or its owner."""
    row = administered(call, "id")
    if call.get("displaytext"):
        call.tx.update(tables.project, row.id, display_text=call["displaytext"])
    if call.get("account"):
        _hand_over(call, row)
    return Accepted((), call.about("Project", row), f"Updating project: {row.uuid}")


def _hand_over(call: Call, row: Row) -> None:
    account = account_beside(call.tx, row, call["account"])
    if call.get("roletype") and not call.get("swapowner", True):
        role = ROLES.get(call["roletype"].lower())
        there = project_members.find(call.tx, row.id, account.id)
        if role is None or there is None or there.state != MEMBER:
            raise Refused(f"Account {account.name} is not in the project, or {call['roletype']} is neither Admin nor Regular")
        project_members.put(call.tx, row.id, account.id, role, MEMBER)
        return
    project_members.hand_over(call.tx, row, account.id)


@handler("suspendProject")
def suspend_project(call: Call) -> Reply:
    """Its guests are stopped, and nothing new becomes the project's."""
    row = administered(call, "id")
    call.tx.update(tables.project, row.id, state="Suspended")
    parts = tuple(accounts.stop_guests(call.tx, row.project_account_id))
    return Accepted(parts, call.about("Project", row), f"Suspending project: {row.uuid}")


@handler("activateProject")
def activate_project(call: Call) -> Reply:
    """As it was; its guests are started one by one by whoever wants them."""
    row = administered(call, "id")
    call.tx.update(tables.project, row.id, state="Active")
    return Accepted((), call.about("Project", row), f"Activating project: {row.uuid}")


@handler("deleteProject")
def delete_project(call: Call) -> Reply:
    """Gone with what belongs to it."""
    row = administered(call, "id")
    used = limits.used(call.tx, Kind.GUESTS, account_id=row.project_account_id)
    used += limits.used(call.tx, Kind.NETWORKS, account_id=row.project_account_id)
    if used and not call.get("cleanup"):
        raise Refused(f"The project {row.name} still has guests or networks; delete them or pass cleanup=true", Why.IN_USE)
    parts = tuple(accounts.withdraw_account(call.tx, row.project_account_id))
    return Accepted(parts, call.about("Project", row), f"Deleting project: {row.uuid}")
