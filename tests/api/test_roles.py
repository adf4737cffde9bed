"""The matrix: every command as everybody. Allowed, 432 or 401 as the catalogue says; 531 for what is somebody else's."""

import pytest

from sysvm.api import catalogue, handlers
from tests.api.stage import ApiError, Asker, Stage, refusal, send

ALLOWED = {
    "anyone": {"user", "domain admin", "root admin"},
    "all": {"user", "domain admin", "root admin"},
    "domain": {"domain admin", "root admin"},
    "admin": {"root admin"},
}


async def cast(stage: Stage) -> dict[str, Asker]:
    east = await stage.admin("createDomain", name="east")
    return {
        "user": await stage.user("user", domain_id=east["id"]),
        "domain admin": await stage.user("boss", domain_id=east["id"], role="Domain Admin"),
        "root admin": await stage.user("root", role="Root Admin"),
    }


async def test_every_command_is_allowed_to_whom_the_catalogue_says(stage: Stage):
    """Called without parameters: what is not 432 was let through to the handler, what is 401 was not known."""
    who = await cast(stage)
    wrong = []
    for name, command in catalogue.commands().items():
        if handlers.find(name) is None:
            continue
        anonymous = await send(stage.apps.main, f"command={name}&response=json")
        if anonymous.status != 401:
            wrong.append(f"{name} anonymous: {anonymous.status}")
        for role, asker in who.items():
            status = (await asker.ask(name)).status
            allowed = status not in (401, 432)
            if allowed != (role in ALLOWED[command.roles]) or status >= 538:
                wrong.append(f"{name} {role}: {status}")
    assert wrong == []


async def test_listapis_shows_what_the_caller_may_use(stage: Stage):
    """And nothing without a handler."""
    for role, asker in (await cast(stage)).items():
        shown = {row["name"] for row in await asker("listApis")}
        known = catalogue.commands()
        assert shown == {name for name in handlers.names() if role in ALLOWED[known[name].roles]}, role


async def test_rows_of_listapis_have_all_that_cmk_reads(stage: Stage):
    """It crashes when one is missing; types are lower-case words."""
    for row in await stage.admin("listApis"):
        assert {"name", "description", "isasync", "params", "response"} <= set(row), row["name"]
        for param in row["params"]:
            assert {"name", "type", "required", "description", "length"} <= set(param), row["name"]
            assert param["type"] == param["type"].lower()
        assert all({"name", "type", "description"} <= set(field) for field in row["response"])
    (one,) = await stage.admin("listApis", name="listUsers")
    assert one["name"] == "listUsers"


OTHERS = [
    ("listUsers", "user_id", "id"),
    ("updateUser", "user_id", "id"),
    ("getUserKeys", "user_id", "id"),
    ("registerUserKeys", "user_id", "id"),
]


@pytest.mark.parametrize(("command", "attribute", "parameter"), OTHERS)
async def test_a_users_things_are_not_another_users(stage: Stage, command: str, attribute: str, parameter: str):
    """531 for another user, allowed to him, the admin of his domain and root; 531 for the admin of another domain."""
    who = await cast(stage)
    other = await stage.user("other")
    north = await stage.admin("createDomain", name="north")
    stranger = await stage.user("stranger", domain_id=north["id"], role="Domain Admin")
    given = {parameter: getattr(who["user"], attribute)}
    for asker in (who["domain admin"], who["root admin"], who["user"]):
        keys = await asker(command, **given)
        if command == "registerUserKeys":
            who["user"].key, who["user"].secret = keys["apikey"], keys["secretkey"]
    for asker in (other, stranger):
        with refusal(531, "does not have permission"):
            await asker(command, **given)


async def test_a_rule_of_a_role_comes_before_the_catalogue(stage: Stage):
    """Allow and deny, the first that fits."""
    roles = {row["name"]: row for row in await stage.admin("listRoles")}
    role = await stage.admin("createRole", name="auditor", roleid=roles["User"]["id"])
    auditor = await stage.user("auditor", role="auditor")
    for rule, permission in (("listUsers", "deny"), ("list*", "allow"), ("createProject", "deny")):
        await stage.admin("createRolePermission", roleid=role["id"], rule=rule, permission=permission)
    found = {name: (await auditor.ask(name)).status for name in ("listUsers", "listAlerts", "createProject", "listCapabilities")}
    assert found == {"listUsers": 432, "listAlerts": 200, "createProject": 432, "listCapabilities": 200}
    rules = await stage.admin("listRolePermissions", roleid=role["id"])
    order = [rules[1]["id"], rules[0]["id"], rules[2]["id"]]
    await stage.admin("updateRolePermission", roleid=role["id"], ruleorder=order)
    assert (await auditor.ask("listUsers")).status == 200
    with refusal(431, "every rule"):
        await stage.admin("updateRolePermission", roleid=role["id"], ruleorder=order[:2])


@pytest.mark.parametrize(
    ("command", "of_type", "of_a_copy"),
    [("listUsers", 432, 200), ("listTags", 200, 200), ("listHosts", 432, 432), ("listApis", 200, 200)],
)
async def test_what_no_rule_names_is_denied_but_for_copies_of_default_roles(
    stage: Stage, command: str, of_type: int, of_a_copy: int
):
    """A role of one's own begins with nothing; and its copy, too."""
    default = {row["name"]: row["id"] for row in await stage.admin("listRoles")}["User"]
    narrow = await stage.admin("createRole", name="narrow", type="User")
    await stage.admin("createRolePermission", roleid=narrow["id"], rule="listTags", permission="allow")
    for name, pattern, status in (("wide", default, of_a_copy), ("second", narrow["id"], of_type)):
        await stage.admin("createRole", name=name, roleid=pattern)
        assert (await (await stage.user(f"who is {name}", role=name)).ask(command)).status == status
    assert (await (await stage.user("who is narrow", role="narrow")).ask(command)).status == of_type


async def test_default_roles_and_roles_in_use_stay(stage: Stage):
    """Nobody locks himself out."""
    roles = {row["name"]: row for row in await stage.admin("listRoles")}
    with refusal(531, "default role"):
        await stage.admin("createRolePermission", roleid=roles["User"]["id"], rule="*", permission="deny")
    with refusal(531, "default role"):
        await stage.admin("deleteRole", id=roles["Root Admin"]["id"])
    role = await stage.admin("createRole", name="mine", roleid=roles["User"]["id"])
    await stage.user("somebody", role="mine")
    with refusal(536, "in use"):
        await stage.admin("deleteRole", id=role["id"])


@pytest.mark.parametrize(
    ("role", "gives", "status"),
    [
        ("Domain Admin", "User", 200), ("Domain Admin", "Domain Admin", 200), ("Domain Admin", "Resource Admin", 531),
        ("Domain Admin", "Root Admin", 531),
    ],
)  # fmt: skip
async def test_nobody_gives_more_than_he_has(stage: Stage, role: str, gives: str, status: int):
    """Neither to a new account nor to an old one."""
    east = await stage.admin("createDomain", name="east")
    boss = await stage.user("boss", domain_id=east["id"], role=role)
    roles = {row["name"]: row["id"] for row in await stage.admin("listRoles")}
    try:
        await boss("createAccount", username="new", password="p", firstname="f", lastname="l", email="e@x",
                   roleid=roles[gives])  # fmt: skip
        assert status == 200
    except ApiError as error:
        assert error.status == status
    if status != 200:
        account = await boss("createAccount", username="plain", password="p", firstname="f", lastname="l", email="e@x",
                             roleid=roles["User"])  # fmt: skip
        with refusal(531):
            await boss("updateAccount", id=account["id"], roleid=roles[gives])


async def test_a_root_admin_lives_in_root(stage: Stage):
    """An admin role in a domain would see everything."""
    east = await stage.admin("createDomain", name="east")
    with refusal(431, "root admins live in ROOT"):
        await stage.user("x", domain_id=east["id"], role="Root Admin")


async def test_a_role_has_a_rule_once(stage: Stage):
    """The first one would decide, whatever the second says."""
    role = await stage.admin("createRole", name="ops", type="User")
    await stage.admin("createRolePermission", roleid=role["id"], rule="list*", permission="allow")
    with refusal(431, "has a rule list* already"):
        await stage.admin("createRolePermission", roleid=role["id"], rule="list*", permission="deny")


RULES = {"rules[0].rule": "list*", "rules[0].permission": "allow", "rules[0].description": "may look",
         "rules[1].rule": "*", "rules[1].permission": "deny"}  # fmt: skip


async def test_a_role_is_imported_with_its_rules_in_their_order(stage: Stage):
    """In place of the one of that name when it is forced, whose accounts then have the new rules."""
    role = await stage.admin("importRole", name="auditor", type="User", description="looks", **RULES)
    assert ("auditor", "User", "looks", False) == tuple(role[name] for name in ("name", "type", "description", "isdefault"))
    rules = await stage.admin("listRolePermissions", roleid=role["id"])
    assert [("list*", "allow", "may look"), ("*", "deny", "")] == [
        (rule["rule"], rule["permission"], rule["description"]) for rule in rules
    ]
    auditor = await stage.user("auditor", role="auditor")
    assert (200, 432) == ((await auditor.ask("listZones")).status, (await auditor.ask("createNetwork")).status)
    with refusal(431, "Role auditor already exists"):
        await stage.admin("importRole", name="auditor", type="User", **RULES)
    none = {"rules[0].rule": "*", "rules[0].permission": "deny"}
    again = await stage.admin("importRole", name="auditor", type="User", forced=True, **none)
    assert role["id"] == again["id"]
    assert 432 == (await auditor.ask("listZones")).status
    with refusal(536, "in use"):
        await stage.admin("importRole", name="auditor", type="DomainAdmin", forced=True, **none)


@pytest.mark.parametrize(
    ("params", "status", "text"),
    [
        ({"name": "User", "forced": True}, 531, "default role User cannot be changed"),
        ({"type": "Emperor"}, 431, "Invalid role type Emperor"),
        ({"rules[0].permission": "perhaps"}, 431, "Invalid permission perhaps"),
        ({"rules[0].rule": "list users"}, 431, "Invalid rule list users"),
        ({"rules[1].rule": "list*"}, 431, "these are not: list*"),
    ],
)
async def test_roles_that_are_not_imported(stage: Stage, params: dict[str, str], status: int, text: str):
    """And leave nothing."""
    before = await stage.admin("listRoles")
    with refusal(status, text):
        await stage.admin("importRole", **{"name": "new", "type": "User", **RULES, **params})
    assert before == await stage.admin("listRoles")
