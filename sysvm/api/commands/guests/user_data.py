"""User data that is registered once and used by many guests."""

from typing import Any

from sysvm.api.answers import owners
from sysvm.api.call import Call, Reply, Success
from sysvm.api.handlers import handler
from sysvm.api.listing import list_rows
from sysvm.api.rules import guests as rules
from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.queries import user_data
from sysvm.store.queries.events import About
from sysvm.store.store import Row

ABOUT = "UserData"


@handler("registerUserData")
def register_user_data(call: Call) -> Reply:
    """Kept under a name."""
    owner = call.owner()
    name = call["name"]
    if user_data.named(call.tx, owner.account_id, name) is not None:
        raise Refused(f"A userdata with name '{name}' already exists.")
    uuid = call.ids.uuid()
    id_ = call.tx.insert(
        tables.user_data,
        uuid=uuid,
        name=name,
        userdata=rules.user_data(call["userdata"]),
        params=call.get("params", ""),
        created=call.now,
        **owner.columns,
    )
    return Success(about=About(ABOUT, id_, uuid, name), description=f"registering userdata {name}")


@handler("listUserData")
def list_user_data(call: Call) -> Reply:
    """With the data."""
    data = tables.user_data
    return list_rows(
        call,
        user_data.statement(),
        data,
        lambda _, rows: [_answer(row) for row in rows],
        equal={"name": data.c.name},
        keyword=(data.c.name,),
    )


def _answer(row: Row) -> dict[str, Any]:
    mine = owners.owner(row)
    mine.pop("domainpath", None)
    answer = {
        "id": row.uuid,
        "name": row.name,
        "userdata": row.userdata,
        "params": row.params or None,
        "accountid": row.account_uuid,
        "hasannotations": False,
        **mine,
    }
    return owners.without_empty(answer)


@handler("deleteUserData")
def delete_user_data(call: Call) -> Reply:
    """Refused while guests have it."""
    row = call.need(tables.user_data, "id")
    used = user_data.used_by(call.tx, row.id)
    if used:
        raise Refused(f"Userdata {row.name} cannot be removed as it is linked to {used} active user VM(s)", Why.IN_USE)
    call.tx.update(tables.user_data, row.id, removed=call.now)
    return Success(about=About(ABOUT, row.id, row.uuid, row.name), description=f"deleting userdata {row.name}")


@handler("linkUserDataToTemplate")
def link_user_data_to_template(call: Call) -> Reply:
    """Refused: user data is given to guests, not to templates."""
    raise Refused("User data can't be linked to a template; pass userdataid to deployVirtualMachine", Why.UNAVAILABLE)
