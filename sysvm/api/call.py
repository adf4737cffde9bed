"""One call: who asks for what, in which transaction; and what can be answered.

A handler reads typed parameters (`call["name"]`, `call.get("zoneid")`), finds objects (`call.row(tables.zone, "zoneid")`,
which also checks that the caller may touch them), changes rows through `call.tx`, and returns a reply. It raises
`basics.errors.Refused` for whatever the caller did wrong.
"""

from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from sysvm.api import errors
from sysvm.api.catalogue import Command
from sysvm.api.params import NONE_UUID
from sysvm.basics.errors import Refused, Why
from sysvm.basics.ids import Ids
from sysvm.store import tables
from sysvm.store.queries import project_members
from sysvm.store.queries.events import About, Actor
from sysvm.store.queries.jobs import Part
from sysvm.store.queries.snapshots import CAPTURES
from sysvm.store.queries.templates import INNER
from sysvm.store.secrets import Vault
from sysvm.store.store import Row, Tx

ADMIN, RESOURCE_ADMIN, DOMAIN_ADMIN, USER = "Admin", "ResourceAdmin", "DomainAdmin", "User"
PROJECT_ACCOUNT = 5  # account.type


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks."""

    user_id: int
    user_uuid: str
    username: str
    account_id: int
    account_uuid: str
    account_name: str
    account_type: int
    domain_id: int
    domain_uuid: str
    domain_path: str  # of ids: /1/4/
    role_id: int
    role_type: str  # Admin | ResourceAdmin | DomainAdmin | User
    role_by_type: bool  # whether the type decides about what no rule of the role names
    numeric_ids: bool = False  # the integration port also takes internal ids
    address: str = ""

    @property
    def is_root(self) -> bool:
        """Whether everything is visible."""
        return self.role_type == ADMIN

    @property
    def is_domain_admin(self) -> bool:
        """Whether a domain and those below it are visible."""
        return self.role_type == DOMAIN_ADMIN

    @property
    def actor(self) -> Actor:
        """As events and jobs know it."""
        return Actor(self.user_id, self.account_id, self.domain_id, self.domain_path)

    def sees_domain(self, domain_path: str) -> bool:
        """Whether objects of that domain are this caller's to administer."""
        return self.is_root or (self.is_domain_admin and domain_path.startswith(self.domain_path))

    def sees(self, account_id: int | None, domain_path: str | None) -> bool:
        """Whether the caller may touch what belongs to that account."""
        return account_id == self.account_id or self.sees_domain(domain_path or "")


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose a new object is; `columns` go straight into an insert."""

    account_id: int
    domain_id: int
    domain_path: str

    @property
    def columns(self) -> dict[str, Any]:
        """The owner columns of every owned table."""
        return {"account_id": self.account_id, "domain_id": self.domain_id, "domain_path": self.domain_path}


# ---------------------------------------------------------------- replies
@dataclass(frozen=True, slots=True)
class Rows:
    """A page of a list, and how many there are in all. `key` replaces the catalogue's where a parameter decides it."""

    rows: list[dict[str, Any]]
    count: int
    key: str = ""


@dataclass(frozen=True, slots=True)
class One:
    """One object. For a change: what it is about and what was done, for the event."""

    row: dict[str, Any]
    about: About | None = None
    description: str = ""


@dataclass(frozen=True, slots=True)
class Success:
    """It is done."""

    displaytext: str = ""
    about: About | None = None
    description: str = ""


@dataclass(frozen=True, slots=True)
class Flat:
    """A body without an object's key around it."""

    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Accepted:
    """An asynchronous command: the job waits for `parts` (none: it is done at once). `about.uuid` is the new object's id
    in the answer of a create command."""

    parts: tuple[Part, ...]
    about: About
    description: str
    params: dict[str, Any] = field(default_factory=dict)
    secret: bool = False
    event: str = ""  # replaces the catalogue's where the object decides it


Reply = Rows | One | Success | Flat | Accepted


def _is_inner(table: sa.Table, row: Row) -> bool:
    """Whether nobody is to know of the row: a capture, the image of a volume or of a snapshot."""
    if table is tables.snapshot:
        return row.kind in CAPTURES
    return table is tables.template and row.kind in INNER


# ---------------------------------------------------------------- the call
class Call:
    """What a handler gets."""

    __slots__ = ("caller", "command", "extra", "ids", "most_rows", "params", "raw", "tx", "vault")

    def __init__(
        self,
        tx: Tx,
        caller: Caller,
        command: Command,
        params: dict[str, Any],
        *,
        ids: Ids,
        vault: Vault,
        raw: dict[str, str] | None = None,
        extra: Any = None,
        most_rows: int = 500,
    ) -> None:
        self.tx = tx
        self.caller = caller
        self.command = command
        self.params = params
        self.ids = ids
        self.vault = vault
        self.raw = raw or {}
        self.extra = extra
        self.most_rows = most_rows  # default.page.size

    @property
    def now(self) -> float:
        """The transaction's instant."""
        return self.tx.now

    def __getitem__(self, name: str) -> Any:
        """A required parameter."""
        return self.params[name]

    def __contains__(self, name: str) -> bool:
        """Whether it was given."""
        return name in self.params

    def get(self, name: str, default: Any = None) -> Any:
        """An optional parameter, typed by the catalogue; `default` when it was not given."""
        return self.params.get(name, default)

    def row(self, table: sa.Table, name: str, *, check: bool = True) -> Row | None:
        """The row that a uuid parameter names; None when it was not given (or is -1, which means none).

        Unknown or removed: 431. With `check`, an owned row of somebody else: 531.
        """
        value = self.params.get(name)
        return None if value is None or value == NONE_UUID else self.find(table, str(value), name, check=check)

    def need(self, table: sa.Table, name: str, *, check: bool = True) -> Row:
        """Like `row`, of a parameter that must be there."""
        found = self.row(table, name, check=check)
        if found is None:
            raise errors.missing(self.command.name, name)
        return found

    def rows(self, table: sa.Table, name: str, *, check: bool = True) -> tuple[Row, ...]:
        """The rows that a list parameter of uuids names."""
        return tuple(self.find(table, value, name, check=check) for value in self.params.get(name, ()))

    def find(self, table: sa.Table, value: str, name: str, *, check: bool = True) -> Row:
        """The row with this uuid, said to be the value of parameter `name`."""
        found = self.find_even_removed(table, value, name, check=check)
        if "removed" in table.c and found.removed is not None:
            raise errors.unknown_entity(self.command.name, name, value)
        return found

    def find_even_removed(self, table: sa.Table, value: str, name: str, *, check: bool = True) -> Row:
        """Like `find`, of what may be gone: lists have nothing of it, which is no fault of who asks."""
        numeric = self.caller.numeric_ids and value.isdecimal() and len(value) < 19
        if numeric:
            found = self.tx.rows(table, "id = :value", value=int(value))
        else:
            found = self.tx.rows(table, "uuid = :value", value=value)
        if not found or _is_inner(table, found[0]):
            raise errors.unknown_entity(self.command.name, name, value)
        if check:
            self.check_access(table, found[0])
        return found[0]

    def check_access(self, table: sa.Table, row: Row) -> None:
        """Refused (531) unless the caller may touch this row; tables without an owner are everybody's to name."""
        if table is tables.domain:
            allowed = self.caller.sees_domain(row.id_path) or row.id == self.caller.domain_id
        elif table is tables.account:
            allowed = self.caller.sees(row.id, row.domain_path)
        elif table is tables.user:
            account = self.tx.get(tables.account, row.account_id)
            allowed = account is not None and self.caller.sees(account.id, account.domain_path)
        elif table is tables.project:
            allowed = self.caller.sees(row.account_id, row.domain_path) or self._is_member(row.project_account_id)
        elif "domain_path" in table.c and "account_id" in table.c:
            allowed = self.caller.sees(row.account_id, row.domain_path) or self._is_member(row.account_id)
        else:
            return
        if not allowed:
            raise errors.no_access(self.caller.account_name, f"{table.name} {getattr(row, 'uuid', row.id)}")

    def _is_member(self, account_id: int | None) -> bool:
        """Whether that is the account of a project that the caller owns or is in."""
        project, me = tables.project, self.caller.account_id
        his = sa.or_(project.c.account_id == me, project.c.id.in_(project_members.of_account(me)))
        mine = sa.select(project.c.id).where(project.c.project_account_id == account_id, his)
        return self.tx.one(mine) is not None

    def owner(self) -> Owner:
        """Whose the new object shall be: `projectid`, or `account` with `domainid`, or the caller."""
        project = self.row(tables.project, "projectid")
        if project is not None:
            if project.state != "Active":
                text = f"Can't add resources to the project {project.name} in state={project.state} as it's no longer active"
                raise Refused(text, Why.NOT_ALLOWED)
            return Owner(project.project_account_id, project.domain_id, project.domain_path)
        account = self.named_account()
        if account is not None:
            return Owner(account.id, account.domain_id, account.domain_path)
        domain = self.row(tables.domain, "domainid")
        if domain is not None and domain.id != self.caller.domain_id:
            raise Refused("Account must be specified together with the domain id")
        return Owner(self.caller.account_id, self.caller.domain_id, self.caller.domain_path)

    def named_account(self) -> Row | None:
        """The account of `account` and `domainid` (the caller's domain when that is not given)."""
        name = self.params.get("account")
        if not name:
            return None
        domain = self.row(tables.domain, "domainid")
        domain_id = self.caller.domain_id if domain is None else domain.id
        table = tables.account
        found = self.tx.one(
            sa.select(table).where(table.c.name == name, table.c.domain_id == domain_id, table.c.removed.is_(None))
        )
        if found is None:
            raise Refused(f"Unable to find account {name} in domain {self.params.get('domainid', domain_id)}")
        self.check_access(table, found)
        return found

    def about(self, type_: str, row: Row) -> About:
        """What an event or a job is about."""
        return About(type_, row.id, row.uuid, getattr(row, "display_name", "") or getattr(row, "name", ""))
