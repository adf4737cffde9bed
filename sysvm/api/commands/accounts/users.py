"""Users and their API keys.

A user changes himself (his password only with the present one); an admin changes those of his domains, but nobody with
more rights than his own. Secret keys are sealed; only their owner and root admins can ask for them.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from sysvm.api import errors
from sysvm.api.answers import accounts as answers
from sysvm.api.before import Before, hash_password
from sysvm.api.call import PROJECT_ACCOUNT, Accepted, Call, One, Reply, Rows, Success
from sysvm.api.commands.accounts.accounts import RANK, check_password, new_user
from sysvm.api.handlers import handler, result
from sysvm.api.listing import Owned, list_rows
from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.queries import accounts, callers
from sysvm.store.store import Row, Tx

SYSTEM_USER = 1  # nobody's to change
KEY_BYTES = 64
CURRENT_NEEDED = "To set a new password the current password must be provided."


# ---------------------------------------------------------------- answers
def user_answer(tx: Tx, user_id: int) -> dict[str, Any]:
    """One user."""
    row = tx.one(accounts.users().where(tables.user.c.id == user_id))
    assert row is not None
    return answers.user(row)


@result("disableUser")
def disabled(tx: Tx, job: Row) -> dict[str, Any]:
    """The user."""
    return user_answer(tx, job.instance_id)


# ---------------------------------------------------------------- listing and making
@handler("listUsers")
def list_users(call: Call) -> Rows:
    """Users of the accounts that the caller sees."""
    user, account = tables.user, tables.account

    def answer(_tx: Tx, rows: Sequence[Row]) -> list[dict[str, Any]]:
        own = call.caller.domain_path
        return [answers.user(row, below=row.domain_path != own and row.domain_path.startswith(own)) for row in rows]

    equal = {"username": user.c.username, "state": user.c.state, "accounttype": account.c.type}
    words = (user.c.username, user.c.firstname, user.c.lastname, user.c.email)
    owned = Owned(account.c.id, account.c.domain_id, account.c.domain_path)
    return list_rows(call, accounts.users(), user, answer, equal=equal, keyword=words, owned=owned)


@handler("createUser", before=hash_password)
def create_user(call: Call) -> Reply:
    """A further user of an account."""
    account = call.named_account()
    if account is None:
        raise errors.missing(call.command.name, "account")
    _check_rank(call, account)
    check_password(call, account.domain_id)
    id_ = accounts.add_user(call.tx, call.ids, account.id, account.domain_id, new_user(call))
    row = call.tx.get(tables.user, id_)
    assert row is not None
    return One(user_answer(call.tx, id_), call.about("User", row), f"creating User {row.username}")


def _check_rank(call: Call, account: Row) -> None:
    role = call.tx.get(tables.role, account.role_id)
    if role is not None and RANK[role.type] > RANK[call.caller.role_type]:
        raise errors.no_access(call.caller.account_name, f"account {account.uuid}")


# ---------------------------------------------------------------- changing
def _changeable(call: Call) -> Row:
    """The user of `id`, whom the caller may change."""
    row = call.need(tables.user, "id")
    if row.id == SYSTEM_USER:
        raise Refused("The system user belongs to the cloud itself", Why.NOT_ALLOWED)
    account = call.tx.get(tables.account, row.account_id)
    assert account is not None
    _check_rank(call, account)
    return row


async def passwords_of_update(before: Before) -> tuple[str | None, bool]:
    """(hash of the new password, whether the present one was given right)."""
    given, current = before.params.get("password"), before.params.get("currentpassword")
    new = await before.passwords.hash(given) if given else None
    if current is None or new is None:
        return new, False
    uuid = before.params["id"]

    def stored(tx: Tx) -> str | None:
        table = tables.user
        found: str | None = tx.value(sa.select(table.c.password_hash).where(table.c.uuid == uuid, table.c.removed.is_(None)))
        return found

    return new, await before.passwords.matches(await before.store.read(stored), current)


@handler("updateUser", before=passwords_of_update)
def update_user(call: Call) -> Reply:
    """Names, password, keys."""
    row = _changeable(call)
    changes: dict[str, Any] = {name: call[name] for name in ("firstname", "lastname", "email", "timezone") if call.get(name)}
    if call.get("username") and call["username"] != row.username:
        account = call.tx.get(tables.account, row.account_id)
        assert account is not None
        accounts.check_username(call.tx, call["username"], account.domain_id)
        changes["username"] = call["username"]
    changes |= _new_password(call, row) | _given_keys(call)
    if changes:
        call.tx.update(tables.user, row.id, **changes)
    return One(user_answer(call.tx, row.id), call.about("User", row), f"updating User {row.username}")


def _new_password(call: Call, row: Row) -> dict[str, Any]:
    hashed, current_fits = call.extra
    if hashed is None:
        return {}
    by_admin = call.caller.is_root or (call.caller.is_domain_admin and row.account_id != call.caller.account_id)
    if not by_admin and "currentpassword" not in call:
        raise Refused(CURRENT_NEEDED)
    if "currentpassword" in call and not current_fits:
        raise Refused("Current password is incorrect.")
    check_password(call, call.caller.domain_id)
    callers.end_sessions_of(call.tx, row.id)
    return {"password_hash": hashed}


def _given_keys(call: Call) -> dict[str, Any]:
    key, secret = call.get("userapikey"), call.get("usersecretkey")
    if not key and not secret:
        return {}
    if not key or not secret:
        raise Refused("Please provide a userApiKey/userSecretKey pair")
    table = tables.user
    taken = sa.select(table.c.id).where(table.c.api_key == key, table.c.uuid != call["id"])
    if call.tx.one(taken) is not None:
        raise Refused("The api key is used already; choose another one")
    return {"api_key": key, "secret_key": call.vault.seal(secret)}


@handler("enableUser")
def enable_user(call: Call) -> Reply:
    """He can act again."""
    row = _changeable(call)
    call.tx.update(tables.user, row.id, state="enabled")
    return One(user_answer(call.tx, row.id), call.about("User", row), f"enabling User {row.username}")


@handler("disableUser")
def disable_user(call: Call) -> Reply:
    """He cannot act."""
    row = _not_self(call, "disables")
    callers.end_sessions_of(call.tx, row.id)
    call.tx.update(tables.user, row.id, state="disabled")
    return Accepted((), call.about("User", row), f"disabling user: {row.username}")


@handler("lockUser")
def lock_user(call: Call) -> Reply:
    """He cannot act, until he is enabled again."""
    row = _not_self(call, "locks")
    callers.end_sessions_of(call.tx, row.id)
    call.tx.update(tables.user, row.id, state="locked")
    return One(user_answer(call.tx, row.id), call.about("User", row), f"locking User {row.username}")


@handler("moveUser")
def move_user(call: Call) -> Reply:
    """To another account of his domain; his keys stay, his sessions end."""
    row = _not_self(call, "moves")
    here = call.tx.get(tables.account, row.account_id)
    assert here is not None
    there = call.row(tables.account, "accountid") or _named_in(call, here.domain_id)
    if there.type == PROJECT_ACCOUNT:
        raise Refused("A project has no users of its own")
    if there.domain_id != here.domain_id:
        raise Refused("You cannot move a user from one domain to another")
    if there.id == here.id:
        raise Refused(f"The user {row.username} is in account {there.name} already")
    _check_rank(call, there)
    callers.end_sessions_of(call.tx, row.id)
    call.tx.update(tables.user, row.id, account_id=there.id)
    return Success("", call.about("User", row), f"moving User {row.username} to account {there.name}")


def _named_in(call: Call, domain_id: int) -> Row:
    """The account of that name in the domain."""
    name, account = call.get("account"), tables.account
    if not name:
        raise Refused("Either accountid or account is required to say where the user shall go")
    same = (account.c.name == name, account.c.domain_id == domain_id, account.c.removed.is_(None))
    found = call.tx.one(sa.select(account).where(*same))
    if found is None:
        raise Refused(f"Unable to find account {name} in the domain of the user")
    call.check_access(account, found)
    return found


@handler("deleteUser")
def delete_user(call: Call) -> Reply:
    """Gone; his account stays."""
    row = _not_self(call, "deletes")
    accounts.remove_user(call.tx, row.id)
    return Success("", call.about("User", row), f"deleting User {row.username}")


def _not_self(call: Call, what: str) -> Row:
    row = _changeable(call)
    if row.id == call.caller.user_id or row.id in accounts.SYSTEM_ROWS:
        raise Refused(f"Nobody {what} himself or the users of the cloud", Why.NOT_ALLOWED)
    return row


# ---------------------------------------------------------------- keys
def _keys(call: Call, row: Row) -> dict[str, str]:
    if row.api_key is None or row.secret_key is None:
        return {}
    return {"apikey": row.api_key, "secretkey": call.vault.open(row.secret_key)}


def _check_keys_access(call: Call, row: Row) -> None:
    if row.id != call.caller.user_id:
        account = call.tx.get(tables.account, row.account_id)
        assert account is not None
        _check_rank(call, account)


@handler("getUserKeys")
def get_user_keys(call: Call) -> One:
    """The user's keys."""
    row = call.need(tables.user, "id")
    _check_keys_access(call, row)
    return One(_keys(call, row))


@handler("registerUserKeys")
def register_user_keys(call: Call) -> Reply:
    """New keys; the former ones are worth nothing from now on."""
    row = call.need(tables.user, "id")
    if row.id == SYSTEM_USER:
        raise Refused("The system user has no keys", Why.NOT_ALLOWED)
    _check_keys_access(call, row)
    key, secret = call.ids.token(KEY_BYTES), call.ids.token(KEY_BYTES)
    call.tx.update(tables.user, row.id, api_key=key, secret_key=call.vault.seal(secret))
    about = call.about("User", row)
    return One({"apikey": key, "secretkey": secret}, about, f"register for the developer API keys of {row.username}")


@handler("getUser")
def get_user(call: Call) -> One:
    """The user of an API key."""
    found = callers.by_key(call.tx, call["userapikey"])
    if found is None:
        raise Refused("User with specified API key does not exist")
    return One(user_answer(call.tx, found.id))
