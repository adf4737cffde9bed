"""Settings: `value(tx, "consoleproxy.session.max", zone_id=7)`, typed, from the narrowest scope that has one.

Names are looked up without regard to case, and old spellings by their alias. What is not in the table has the default of
`store/settings.py`. A transaction reads each scope once; nothing outlives it.
"""

from typing import Any

import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.secrets import Vault
from sysvm.store.settings import SETTINGS, Setting, canonical
from sysvm.store.store import Tx

GLOBAL = "global"
WAKE = "setting"  # servers that keep values in memory forget them on this wake

IN_SCOPE = "select name, value from setting where scope = :scope and scope_id = :id"


def find(name: str) -> Setting | None:
    """The declaration of a setting, whatever the spelling."""
    return SETTINGS.get(canonical(name))


def value(
    tx: Tx,
    name: str,
    *,
    zone_id: int | None = None,
    cluster_id: int | None = None,
    account_id: int | None = None,
    domain_id: int | None = None,
    pool_id: int | None = None,
    store_id: int | None = None,
    vault: Vault | None = None,
) -> Any:
    """The value in force, as bool, int, float, str or None. A hidden one needs the vault."""
    setting = SETTINGS[canonical(name)]
    places = {
        "zone": zone_id, "cluster": cluster_id, "account": account_id, "domain": domain_id, "pool": pool_id,
        "imagestore": store_id,
    }  # fmt: skip
    given = next((scope for scope in setting.scopes if places.get(scope) is not None), "")
    text = _stored(tx, setting.name, given, places.get(given) or 0)
    if text is None:
        return setting.typed(setting.default)
    return setting.typed(vault.open(text) if setting.hidden and vault is not None else text)


def _stored(tx: Tx, name: str, scope: str, scope_id: int) -> str | None:
    narrow = _set_in(tx, scope, scope_id).get(name) if scope else None
    return narrow if narrow is not None else _set_in(tx, GLOBAL, 0).get(name)


def _set_in(tx: Tx, scope: str, id_: int) -> dict[str, str | None]:
    """Everything that is set in one scope. Few things are, and documents and lists ask for a dozen of them."""
    return tx.once((IN_SCOPE, scope, id_), lambda: dict(tx.sql(IN_SCOPE, scope=scope, id=id_)), tables.setting)


def stored(tx: Tx, scope: str = GLOBAL, scope_id: int = 0) -> dict[str, str]:
    """Everything that is set in one scope, as text (hidden ones sealed), by name."""
    table = tables.setting
    rows = tx.all(sa.select(table.c.name, table.c.value).where(table.c.scope == scope, table.c.scope_id == scope_id))
    return {row.name: row.value for row in rows if row.value is not None}


def store(
    tx: Tx, setting: Setting, text: str | None, *, scope: str = GLOBAL, scope_id: int = 0, vault: Vault | None = None
) -> None:
    """Sets a value; None unsets it: the default, or the wider scope, is in force again."""
    table = tables.setting
    here = (table.c.name == setting.name, table.c.scope == scope, table.c.scope_id == scope_id)
    tx.change(sa.delete(table).where(*here))
    if text is not None:
        kept = vault.seal(text) if setting.hidden and vault is not None else text
        tx.insert(table, scope=scope, scope_id=scope_id, name=setting.name, value=kept, updated=tx.now)
    tx.wake(WAKE, 0)


ROUTERS = "kind = 'machine' and id in (select id from machine where kind = 'router' and removed is null)"
WORKERS = "kind = 'machine' and id in (select id from machine where kind = 'secstorage' and removed is null)"
# Whose look at the world a change of a setting may change.
CONCERNED = {
    "Console Proxy": "kind = 'zone'",
    "Secondary Storage": f"kind = 'zone' or {WORKERS}",
    "System VM": f"kind = 'zone' or {WORKERS}",
    "Virtual Router": ROUTERS,
    "Network": f"kind = 'network' or {ROUTERS}",
}


def look_again(tx: Tx, setting: Setting) -> None:
    """Those who go by this setting are due to be looked at."""
    which = CONCERNED.get(setting.category)
    if which is not None:
        rows = tx.sql(f"update turn set due = 0, wish = wish + 1 where {which} returning kind, id")
        for kind, id_ in rows[:1]:
            tx.wake(kind, id_)  # one is enough to wake the workers
