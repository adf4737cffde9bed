"""A cloud without hosts behind the API, in this process: a store in memory, a virtual clock, replayable ids.

    stage = await Stage.make()
    zone = await stage.admin("createZone", name="z", ...)          # the object inside the envelope
    with refusal(431): await stage.user("listZones", page=1)

`Asker` signs as real clients do; `ask` gives status, headers and body, calling gives what is inside, or raises ApiError.
"""

import asyncio
import base64
import copy
import hashlib
import hmac
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from sysvm.api.app import Apps, make_apps
from sysvm.api.http import Asgi
from sysvm.api.passwords import Passwords
from sysvm.basics.clock import VirtualClock
from sysvm.basics.ids import Ids, SeededIds
from sysvm.store import tables
from sysvm.store.secrets import Vault
from sysvm.store.seed import ADMIN_ACCOUNT, sow
from sysvm.store.store import PostgresStore, SqliteStore, Tx
from tests.store.copies import copied, empty_database

PASSWORD = "correct horse battery"
CHEAP = {"time_cost": 1, "memory_kib": 8}


class ApiError(Exception):
    """An error answer."""

    def __init__(self, status: int, text: str, envelope: str) -> None:
        super().__init__(f"{status} {text}")
        self.status = status
        self.text = text
        self.envelope = envelope


@dataclass
class Answer:
    """What came back."""

    status: int
    body: bytes
    headers: list[tuple[str, str]] = field(default_factory=list)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key == name), "")

    @property
    def cookies(self) -> dict[str, str]:
        found = {}
        for name, value in self.headers:
            if name == "set-cookie":
                key, _, rest = value.partition("=")
                found[key] = rest.split(";")[0]
        return found


async def send(
    app: Asgi, query: str = "", *, method: str = "GET", body: bytes = b"", path: str = "/client/api",
    headers: dict[str, str] | None = None,
) -> Answer:  # fmt: skip
    """One request to an ASGI application."""
    given = {"host": "127.0.0.1:8080", **(headers or {})}
    if body:
        given.setdefault("content-type", "application/x-www-form-urlencoded")
    scope = {
        "type": "http", "method": method, "path": path, "query_string": query.encode(), "scheme": "http",
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in given.items()],
        "client": ("127.0.0.1", 5555), "server": ("127.0.0.1", 8080),
    }  # fmt: skip
    sent: list[Any] = []
    pending = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Any:
        if not pending:
            await asyncio.Event().wait()  # the client stays until it has its answer
        return pending.pop(0)

    async def collect(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, collect)
    start, *parts = sent
    headers_back = [(name.decode(), value.decode("latin-1")) for name, value in start["headers"]]
    return Answer(start["status"], b"".join(part.get("body", b"") for part in parts), headers_back)


def signed(params: dict[str, Any], key: str, secret: str) -> dict[str, str]:
    """The parameters with key and signature."""
    given = {name: str(value) for name, value in {**params, "apiKey": key, "response": params.get("response", "json")}.items()}
    text = "&".join(f"{name}={quote(given[name], safe='*-._')}" for name in sorted(given, key=str.lower)).lower()
    digest = hmac.new(secret.encode(), text.encode(), hashlib.sha1).digest()
    return {**given, "signature": base64.b64encode(digest).decode()}


def plain(value: Any) -> str:
    """A Python value as a parameter."""
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


@dataclass
class Asker:
    """Somebody with keys."""

    app: Asgi
    key: str
    secret: str
    user_id: str = ""
    account: str = ""
    domain_id: str = ""

    async def ask(self, command: str, **params: Any) -> Answer:
        """Whatever comes back. A parameter `tags__0__key` is `tags[0].key`."""
        given = {_unpythonic(name): plain(value) for name, value in params.items() if value is not None}
        return await send(self.app, urlencode(signed({"command": command, **given}, self.key, self.secret)))

    async def __call__(self, command: str, **params: Any) -> Any:
        """What is inside the envelope: the rows of a list, the object, or the body."""
        answer = await self.ask(command, **params)
        ((envelope, content),) = answer.json.items()
        if answer.status != 200:
            raise ApiError(answer.status, content["errortext"], envelope)
        inside = {name: value for name, value in content.items() if name != "count"}
        if len(inside) == 1 and isinstance(next(iter(inside.values())), dict | list):
            return next(iter(inside.values()))
        return [] if not content and command.startswith("list") else content

    async def job(self, command: str, **params: Any) -> Any:
        """The object of the result of an asynchronous command that is over at once."""
        accepted = await self(command, **params)
        over = await self("queryAsyncJobResult", jobid=accepted["jobid"])
        assert over["jobstatus"] == 1, over
        ((_, inside),) = over["jobresult"].items()
        return inside


def _unpythonic(name: str) -> str:
    word, *rest = name.split("__")
    if not rest:
        return name
    index, *names = rest
    return f"{word}[{index}]" + "".join(f".{part}" for part in names)


@contextmanager
def refusal(status: int, text: str = "") -> Iterator[None]:
    """The call inside must be refused with this code, saying this."""
    with pytest.raises(ApiError) as caught:
        yield
    assert (status, True) == (caught.value.status, text in caught.value.text), str(caught.value)


@dataclass
class Stage:
    """The cloud."""

    store: SqliteStore | PostgresStore
    clock: VirtualClock
    ids: Ids
    vault: Vault
    passwords: Passwords
    apps: Apps
    admin: Asker

    @classmethod
    async def make(cls, store: SqliteStore | PostgresStore | None = None) -> "Stage":
        """An empty cloud whose admin has keys; in memory, or in a database that has all tables and no rows."""
        clock, ids, vault = VirtualClock(), SeededIds(1), Vault(b"k" * 32)
        store = store or copied(empty_database(), clock)
        passwords = Passwords(**CHEAP)
        hashed = passwords.hash_now(PASSWORD)
        await store.run(lambda tx: sow(tx, ids, vault, version="test", admin_password_hash=hashed))
        apps = make_apps(store, ids, vault, passwords)

        def keys(tx: Tx) -> str:
            tx.update(tables.user, ADMIN_ACCOUNT, api_key="admin-key", secret_key=vault.seal("admin-secret"))
            return tx.get(tables.user, ADMIN_ACCOUNT).uuid

        admin = Asker(apps.main, "admin-key", "admin-secret", await store.run(keys), "admin")
        stage = cls(store, clock, ids, vault, passwords, apps, admin)
        admin.domain_id = await stage.root_domain()
        return stage

    def copy(self, database: bytes) -> "Stage":
        """Another cloud as this one was when these were the contents of its database, and when it was closed."""
        clock, ids, passwords = VirtualClock(), copy.deepcopy(self.ids), Passwords(**CHEAP)
        store = copied(database, clock)
        apps = make_apps(store, ids, self.vault, passwords)
        return Stage(store, clock, ids, self.vault, passwords, apps, replace(self.admin, app=apps.main))

    async def root_domain(self) -> str:
        """The UUID of ROOT."""
        return await self.store.read(lambda tx: tx.get(tables.domain, 1).uuid)

    async def user(self, name: str = "user", *, domain_id: str = "", role: str = "User") -> Asker:
        """A new account with one user of that role, in ROOT or a domain."""
        domain_id = domain_id or self.admin.domain_id
        (found,) = [one for one in await self.admin("listRoles") if one["name"] == role]
        account = await self.admin("createAccount", username=name, password=PASSWORD, firstname=name, lastname="x",
                                   email=f"{name}@example.org", domainid=domain_id, roleid=found["id"])  # fmt: skip
        user = account["user"][0]
        keys = await self.admin("registerUserKeys", id=user["id"])
        return Asker(self.apps.main, keys["apikey"], keys["secretkey"], user["id"], account["name"], domain_id)

    async def close(self) -> None:
        """Nothing is left."""
        self.passwords.close()
        await self.store.close()
