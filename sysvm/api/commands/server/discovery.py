"""Which commands there are, and what this cloud can do."""

from functools import cache
from typing import Any

from sysvm.api import catalogue, handlers, permissions
from sysvm.api.call import Call, One, Rows
from sysvm.api.catalogue import Command, Field, Param
from sysvm.api.handlers import handler
from sysvm.basics.errors import Refused
from sysvm.store.queries import callers, settings

VERSION = "4.20.0.0"
DEEPEST = 4  # shapes may refer to each other in a circle

PARAMS = {
    "id": "the UUID of the object",
    "ids": "the UUIDs of the objects, comma separated",
    "page": "which page of the list, from 1; needs pagesize",
    "pagesize": "rows of a page; needs page",
    "keyword": "lists what contains this word",
    "listall": "lists all that the caller may see, not only his own",
    "isrecursive": "with domainid: also the domains below it",
    "account": "the name of the owner; needs domainid",
    "domainid": "the UUID of the owner's domain",
    "projectid": "the UUID of the project; -1 for all projects",
    "details": "details as key/value pairs, or which groups of fields are listed",
}


@cache
def _described(name: str) -> dict[str, Any]:
    """A command as listApis shows it."""
    command = catalogue.commands()[name]
    return {
        "name": name,
        "description": command.about,
        "isasync": command.is_async,
        "related": _related(command),
        "params": [_param(param) for param in command.accepts().values()],
        "response": [_field(field) for field in catalogue.shapes().get(command.shape, ())],
    }


def _related(command: Command) -> str:
    """Other commands that answer the same object."""
    same = (other.name for other in catalogue.commands().values() if other.shape == command.shape and other is not command)
    return "" if command.shape in ("", "success") else ",".join(sorted(handlers.names() & set(same)))


def _param(param: Param) -> dict[str, Any]:
    name = param.name.lower()
    about = PARAMS.get(name) or (f"the UUID of the {name.removesuffix('id')}" if param.type == "uuid" else f"the {name}")
    return {
        "name": param.name, "description": about, "type": param.type, "length": param.length, "required": param.required,
    }  # fmt: skip


def _field(field: Field, depth: int = 0) -> dict[str, Any]:
    shown: dict[str, Any] = {"name": field.name, "description": f"the {field.name}", "type": field.type}
    if field.shape and depth < DEEPEST:
        shown["response"] = [_field(inner, depth + 1) for inner in catalogue.shapes()[field.shape]]
    return shown


@handler("listApis")
def list_apis(call: Call) -> Rows:
    """What the caller's role may use and this server can do."""
    wanted = call.get("name")
    rules = callers.rules(call.tx, call.caller.role_id)
    known = catalogue.commands()
    names = sorted(name for name in handlers.names() if permissions.allowed(call.caller, known[name], rules))
    if wanted is not None:
        names = [name for name in names if name == wanted]
        if not names:
            raise Refused(f"There is no command {wanted}, or it is not for this account")
    return Rows([_described(name) for name in names], len(names))


GROUPED_ZONES = "select 1 from zone where security_groups and removed is null limit 1"


@handler("listCapabilities")
def list_capabilities(call: Call) -> One:
    """Clients read the version, and which optional parts are there."""

    def value(name: str) -> Any:
        return settings.value(call.tx, name)

    return One({
        "cloudstackversion": VERSION,
        "securitygroupsenabled": bool(call.tx.sql(GROUPED_ZONES)),
        "dynamicrolesenabled": True,
        "userpublictemplateenabled": True,
        "supportELB": "false",
        "kvmsnapshotenabled": True,
        "allowusercreateprojects": value("allow.user.create.projects"),
        "projectinviterequired": False,
        "allowuserviewdestroyedvm": value("allow.user.view.destroyed.vm"),
        "allowuserexpungerecovervm": value("allow.user.expunge.recover.vm"),
        "allowuserexpungerecovervolume": False,
        "allowuserviewalldomainaccounts": False,
        "customdiskofferingminsize": value("custom.diskoffering.size.min"),
        "customdiskofferingmaxsize": value("custom.diskoffering.size.max"),
        "defaultuipagesize": 20,
        "regionsecondaryenabled": False,
        "kubernetesserviceenabled": False,
        "kubernetesclusterexperimentalfeaturesenabled": False,
    })  # fmt: skip


@handler("listLdapConfigurations")
def list_ldap_configurations(call: Call) -> Rows:
    """None: users are those of this cloud. The web UI asks at its start, and stops where nobody answers."""
    return Rows([], 0)
