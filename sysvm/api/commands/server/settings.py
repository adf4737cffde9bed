"""Settings: what is set where, and setting it. A change of what system VMs go by makes them due to be looked at."""

from typing import Any

from sysvm.api import errors
from sysvm.api.answers.settings import configuration
from sysvm.api.call import Call, One, Reply, Rows
from sysvm.api.handlers import handler
from sysvm.api.listing import slice_rows
from sysvm.basics.errors import Refused
from sysvm.store import tables
from sysvm.store.queries import settings, system_templates
from sysvm.store.queries.events import About
from sysvm.store.queries.settings import GLOBAL
from sysvm.store.settings import SETTINGS, Setting

ROUTER_TEMPLATE = "router.template."
SCOPES = {
    "zoneid": ("zone", tables.zone),
    "clusterid": ("cluster", tables.cluster),
    "accountid": ("account", tables.account),
    "domainid": ("domain", tables.domain),
    "storageid": ("pool", tables.storage_pool),
    "imagestoreuuid": ("imagestore", tables.image_store),
    "imagestoreid": ("imagestore", tables.image_store),
}


def _scope(call: Call) -> tuple[str, int]:
    """Which scope is meant, and which of it."""
    given = [name for name in SCOPES if call.get(name) is not None]
    if len(given) > 1:
        raise Refused("cannot handle multiple IDs, provide only one ID corresponding to the scope")
    if not given:
        return GLOBAL, 0
    scope, table = SCOPES[given[0]]
    row = call.row(table, given[0])
    return (GLOBAL, 0) if row is None else (scope, row.id)


# ---------------------------------------------------------------- listing
@handler("listConfigurations")
def list_configurations(call: Call) -> Rows:
    """Settings; with the id of a zone or the like those that can be set there, with their value there."""
    scope, scope_id = _scope(call)
    found = [setting for setting in SETTINGS.values() if scope == GLOBAL or scope in setting.scopes]
    found = [setting for setting in _named(call, found) if _in_category(call, setting)]
    stored = settings.stored(call.tx)
    if scope != GLOBAL:
        stored |= settings.stored(call.tx, scope, scope_id)
    shown = "" if scope == GLOBAL else scope
    found.sort(key=lambda setting: setting.name.lower())
    return slice_rows(call, [configuration(setting, stored.get(setting.name), shown) for setting in found])


def _named(call: Call, found: list[Setting]) -> list[Setting]:
    """The one with that very name, else those whose name has the word in it."""
    word = call.get("name") or call.get("keyword")
    if not word:
        return found
    exact = settings.find(word) if call.get("name") else None
    if exact is not None:
        return [exact] if exact in found else []
    return [setting for setting in found if word.lower() in setting.name.lower()]


def _in_category(call: Call, setting: Setting) -> bool:
    wanted = call.get("category") or call.get("group")
    return not wanted or wanted.lower() == setting.category.lower()


@handler("listConfigurationGroups")
def list_configuration_groups(call: Call) -> Rows:
    """The categories."""
    names = sorted({setting.category for setting in SETTINGS.values()})
    wanted = call.get("group")
    rows: list[dict[str, Any]] = [
        {
            "name": name,
            "description": f"Settings of {name}",
            "precedence": at,
            "subgroup": [{"name": "Others", "precedence": 1}],
        }
        for at, name in enumerate(names, 1)
        if wanted in (None, name)
    ]
    return slice_rows(call, rows)


# ---------------------------------------------------------------- setting
def _setting(call: Call, scope: str) -> Setting:
    setting = settings.find(call["name"])
    if setting is None:
        raise Refused(f"Config parameter with name {call['name'][:64]} doesn't exist")
    if scope != GLOBAL and scope not in setting.scopes:
        raise Refused(f"Invalid scope id provided for the parameter {setting.name}: it can be set for"
                      f" {', '.join(('all', *setting.scopes))}")  # fmt: skip
    return setting


@handler("updateConfiguration")
def update_configuration(call: Call) -> Reply:
    """Sets a value; an empty one unsets it."""
    scope, scope_id = _scope(call)
    setting = _setting(call, scope)
    if "value" not in call:
        raise errors.missing(call.command.name, "value")
    text: str | None = call["value"].strip() or None
    if text is not None and (fault := setting.fault(text)):
        raise Refused(fault)
    if text is not None and setting.name.startswith(ROUTER_TEMPLATE):
        _fits_a_template(call, setting, text, scope_id if scope == "zone" else None)
    changed = _changed(call, setting, text, scope, scope_id)
    if setting.name.startswith(ROUTER_TEMPLATE):
        for zone in [scope_id] if scope == "zone" else [row.id for row in call.tx.rows(tables.zone, "removed is null")]:
            system_templates.bring(call.tx, zone)
    return changed


def _fits_a_template(call: Call, setting: Setting, text: str, zone_id: int | None) -> None:
    if not system_templates.names_one(call.tx, setting.name, text, zone_id):
        where = "the zone" if zone_id is not None else "any zone"
        raise Refused(f"No system VM template called {text!r} is ready in {where} for {setting.name}: register it with"
                      " templatetype=ROUTING and wait until it has come")  # fmt: skip


@handler("resetConfiguration")
def reset_configuration(call: Call) -> Reply:
    """The default, or what the wider scope says, is in force again."""
    scope, scope_id = _scope(call)
    return _changed(call, _setting(call, scope), None, scope, scope_id)


def _changed(call: Call, setting: Setting, text: str | None, scope: str, scope_id: int) -> One:
    settings.store(call.tx, setting, text, scope=scope, scope_id=scope_id, vault=call.vault)
    if setting.dynamic:
        settings.look_again(call.tx, setting)
    shown = "****" if setting.hidden else text
    where = "" if scope == GLOBAL else f" of {scope} {scope_id}"
    answer = configuration(setting, None if setting.hidden else text, "" if scope == GLOBAL else scope)
    return One(answer, About("Configuration", None, "", setting.name), f"Name: {setting.name}{where} New Value: {shown}")
