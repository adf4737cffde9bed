"""Accounts, users, domains, projects and their limits, through their lives."""

import pytest

from sysvm.store import tables
from sysvm.store.queries.limits import Kind, check_limit
from sysvm.store.queries.settings import value
from sysvm.store.secrets import Vault, WrongKey, open_vault
from sysvm.store.seed import check_key, sow
from tests.api.rows import assert_row_matches_catalogue
from tests.api.stage import PASSWORD, ApiError, Stage, refusal


async def test_an_empty_cloud_has_root_system_and_admin(stage: Stage):
    """With the ids that scripts know."""

    def look(tx):
        names = [tx.get(tables.user, id_).username for id_ in (1, 2)]
        return names, tx.get(tables.domain, 1).id_path, tx.get(tables.cloud, 1).epoch

    assert await stage.store.read(look) == (["system", "admin"], "/1/", 1)
    again = await stage.store.run(lambda tx: sow(tx, stage.ids, stage.vault, version="2", admin_password_hash="x"))
    assert again is False


async def test_another_key_file_is_noticed_at_start(stage: Stage):
    """And not when the first secret is used."""
    await stage.store.read(lambda tx: check_key(tx, stage.vault))
    with pytest.raises(WrongKey):
        await stage.store.read(lambda tx: check_key(tx, Vault(b"o" * 32)))


def test_the_key_file_is_made_once_and_readable_by_nobody_else(tmp_path):
    """Mode 0600; the second start opens what the first has sealed."""
    sealed = open_vault(tmp_path).seal("secret")
    assert open_vault(tmp_path).open(sealed) == "secret"
    assert oct((tmp_path / "secret.key").stat().st_mode & 0o777) == "0o600"
    assert "secret" not in sealed


async def test_an_account_lives(stage: Stage):
    """Made, changed, disabled, enabled, removed; its name is then free again."""
    user = await stage.user("ann")
    (account,) = await stage.admin("listAccounts", name="ann", listall=True)
    assert_row_matches_catalogue("createAccount", account)
    assert [one["username"] for one in account["user"]] == ["ann"]
    renamed = await stage.admin("updateAccount", id=account["id"], newname="anna", accountdetails__0__colour="blue")
    assert (renamed["name"], renamed["accountdetails"]) == ("anna", {"colour": "blue"})
    locked = await stage.admin.job("disableAccount", id=account["id"], lock=True)
    assert locked["state"] == "locked"
    assert (await stage.admin("enableAccount", id=account["id"]))["state"] == "enabled"
    await stage.admin("deleteAccount", id=account["id"])
    with refusal(401):
        await user("listUsers")
    assert await stage.admin("listAccounts", listall=True, name="anna") == []
    await stage.user("ann")


@pytest.mark.parametrize("command", ["updateAccount", "disableAccount", "deleteAccount"])
async def test_the_accounts_of_the_cloud_stay(stage: Stage, command: str):
    """system and admin."""
    for name in ("system", "admin"):
        (row,) = await stage.admin("listAccounts", name=name, listall=True)
        with refusal(531):
            await stage.admin(command, id=row["id"], lock=True)


async def test_names_are_unique_where_they_must_be(stage: Stage):
    """Users and accounts in a domain, domains under a parent; elsewhere they may repeat."""
    east = await stage.admin("createDomain", name="east")
    await stage.user("ann")
    with refusal(431, "already exists"):
        await stage.user("ann")
    await stage.user("ann", domain_id=east["id"])
    with refusal(431, "already exists"):
        await stage.admin("createDomain", name="east")
    await stage.admin("createDomain", name="east", parentdomainid=east["id"])


async def test_a_user_changes_his_password_only_with_the_present_one(stage: Stage):
    """An admin needs none; a wrong one is refused."""
    user = await stage.user("ann")
    with refusal(431, "current password must be provided"):
        await user("updateUser", id=user.user_id, password="new password")
    with refusal(431, "Current password is incorrect"):
        await user("updateUser", id=user.user_id, password="new password", currentpassword="wrong")
    await user("updateUser", id=user.user_id, password="new password", currentpassword=PASSWORD)
    await stage.admin("updateUser", id=user.user_id, password="third password")
    await stage.admin("updateConfiguration", name="user.password.policy.minimum.length", value=12)
    with refusal(431, "at least 12"):
        await stage.admin("updateUser", id=user.user_id, password="short")


async def test_a_domain_lives_with_all_that_is_below(stage: Stage):
    """A new name shows in the paths below; it goes only when empty, or with cleanup."""
    east = await stage.admin("createDomain", name="east")
    north = await stage.admin("createDomain", name="north", parentdomainid=east["id"])
    user = await stage.user("ned", domain_id=north["id"])
    renamed = await stage.admin("updateDomain", id=east["id"], name="orient")
    (below,) = await stage.admin("listDomains", id=north["id"])
    assert (renamed["path"], below["path"], below["parentdomainname"]) == ("ROOT/orient", "ROOT/orient/north", "orient")
    assert_row_matches_catalogue("listDomains", below)
    with refusal(536, "1 domains and 1 accounts"):
        await stage.admin("deleteDomain", id=east["id"])
    await stage.admin("deleteDomain", id=east["id"], cleanup=True)
    assert [row["name"] for row in await stage.admin("listDomains")] == ["ROOT"]
    with refusal(401):
        await user("listUsers")


async def test_an_admin_of_a_domain_rules_it_and_nothing_else(stage: Stage):
    """Below, yes; beside, above and himself away, no."""
    east, west = await stage.admin("createDomain", name="east"), await stage.admin("createDomain", name="west")
    boss = await stage.user("boss", domain_id=east["id"], role="Domain Admin")
    inner = await boss("createDomain", name="inner")
    assert inner["path"] == "ROOT/east/inner"
    for command, params in (
        ("createDomain", {"name": "x", "parentdomainid": west["id"]}),
        ("updateDomain", {"id": west["id"], "name": "x"}),
        ("deleteDomain", {"id": east["id"]}),
        ("deleteDomain", {"id": stage.admin.domain_id}),
        ("updateResourceLimit", {"resourcetype": 0, "max": -1, "domainid": east["id"]}),
        ("updateResourceLimit", {"resourcetype": 0, "max": -1}),
    ):
        with refusal(531):
            await boss(command, **params)
    await boss("updateResourceLimit", resourcetype=0, max=3, domainid=inner["id"])


# ---------------------------------------------------------------- limits
async def projects(stage: Stage, asker, how_many: int) -> int:
    """How many of them could be made."""
    for at in range(how_many):
        try:
            await asker("createProject", name=f"p{at}-{asker.account}")
        except ApiError as error:
            assert (error.status, "project" in error.text) == (535, True)
            return at
    return how_many


async def test_a_limit_of_an_account_is_kept(stage: Stage):
    """Its own one, else the setting; none for -1; root admins have none."""
    ann, bob, cid = await stage.user("ann"), await stage.user("bob"), await stage.user("cid")
    await stage.admin("updateConfiguration", name="max.account.projects", value=3)
    await stage.admin("updateResourceLimit", resourcetype=5, max=1, account="ann", domainid=ann.domain_id)
    await stage.admin("updateResourceLimit", resourcetype=5, max=-1, account="cid", domainid=ann.domain_id)
    made = [await projects(stage, asker, 5) for asker in (ann, bob, cid, stage.admin)]
    assert made == [1, 3, 5, 5]
    (limit,) = await ann("listResourceLimits", resourcetypename="project")
    assert_row_matches_catalogue("listResourceLimits", limit)
    assert (limit["max"], limit["resourcetype"], limit["account"]) == (1, "5", "ann")
    (count,) = await stage.admin("updateResourceCount", domainid=bob.domain_id, account="bob", resourcetype=5)
    assert count["resourcecount"] == 3


async def test_the_limits_of_all_domains_above_count(stage: Stage):
    """Two accounts under one domain share its limit."""
    east = await stage.admin("createDomain", name="east")
    north = await stage.admin("createDomain", name="north", parentdomainid=east["id"])
    await stage.admin("updateResourceLimit", resourcetype=5, max=3, domainid=east["id"])
    ann, ned = await stage.user("ann", domain_id=east["id"]), await stage.user("ned", domain_id=north["id"])
    assert [await projects(stage, ann, 2), await projects(stage, ned, 4)] == [2, 1]
    (domain,) = await stage.admin("listDomains", id=east["id"])
    assert (domain["projectlimit"], domain["projecttotal"], domain["projectavailable"]) == ("3", 3, "0")


async def test_every_kind_of_limit_can_be_counted(stage: Stage):
    """The statements fit the tables, for accounts and domains."""
    await stage.user("ann")

    def check(tx):
        for kind in Kind:
            check_limit(tx, 3, kind)

    await stage.store.read(check)


async def test_a_project_lives(stage: Stage):
    """Made, renamed, handed over, removed; its account owns what is made in it."""
    ann, bob = await stage.user("ann"), await stage.user("bob")
    project = await ann.job("createProject", name="p", displaytext="first")
    assert_row_matches_catalogue("listProjects", project)
    assert (await ann.job("updateProject", id=project["id"], displaytext="second"))["displaytext"] == "second"
    handed = await ann.job("updateProject", id=project["id"], account="bob")
    assert handed["owner"] == [{"account": "bob"}]
    with refusal(531):
        await ann("deleteProject", id=project["id"])
    await bob("deleteProject", id=project["id"])
    assert await bob("listProjects") == []


# ---------------------------------------------------------------- settings
async def test_a_setting_is_found_in_any_spelling_and_by_its_old_name(stage: Stage):
    """router.template.xen is the manual's."""
    for given, name, to in (
        ("ROUTER.TEMPLATE.XEN", "router.template.xenserver", "SystemVM Template (XenServer)"),
        ("network.router.enableservicemonitoring", "network.router.EnableServiceMonitoring", "true"),
    ):
        await stage.admin("updateConfiguration", name=given, value=to)
        (found,) = await stage.admin("listConfigurations", name=given.lower())
        assert (found["name"], found["value"]) == (name, to)
        assert_row_matches_catalogue("listConfigurations", found)


async def test_the_narrowest_scope_that_has_a_value_wins(stage: Stage):
    """Domain before global before default; reset brings the wider one back."""
    name = "user.password.policy.minimum.length"

    async def now() -> list[int]:
        def look(tx):
            return [value(tx, name), value(tx, name, domain_id=1), value(tx, name, zone_id=1)]

        return await stage.store.read(look)

    seen = [await now()]
    await stage.admin("updateConfiguration", name=name, value=5)
    seen.append(await now())
    await stage.admin("updateConfiguration", name=name, value=9, domainid=stage.admin.domain_id)
    seen.append(await now())
    (shown,) = await stage.admin("listConfigurations", name=name, domainid=stage.admin.domain_id)
    await stage.admin("resetConfiguration", name=name, domainid=stage.admin.domain_id)
    seen.append(await now())
    await stage.admin("updateConfiguration", name=name, value="")
    seen.append(await now())
    assert seen == [[0, 0, 0], [5, 5, 5], [5, 9, 5], [5, 5, 5], [0, 0, 0]]
    assert (shown["value"], shown["scope"]) == ("9", "domain")


async def test_a_setting_cannot_be_set_where_it_has_no_scope(stage: Stage):
    """And for one scope at a time."""
    (account,) = await stage.admin("listAccounts", name="admin", listall=True)
    given = {"name": "integration.api.port", "value": 1}
    with refusal(431, "Invalid scope"):
        await stage.admin("updateConfiguration", **given, accountid=account["id"])
    with refusal(431, "multiple IDs"):
        await stage.admin("updateConfiguration", **given, accountid=account["id"], domainid=stage.admin.domain_id)


async def test_hidden_values_are_sealed_and_never_shown(stage: Stage):
    """Neither in lists nor in events nor in the file."""
    name = "alert.smtp.password"
    answer = await stage.admin.ask("updateConfiguration", name=name, value="hunter2")
    listed = await stage.admin.ask("listConfigurations", name=name)
    events = await stage.admin.ask("listEvents", listall=True)
    dump = "\n".join(stage.store._writing.connection.driver_connection.iterdump())
    assert [b"hunter2" in one.body for one in (answer, listed, events)] == [False] * 3
    assert "hunter2" not in dump
    assert await stage.store.read(lambda tx: value(tx, name, vault=stage.vault)) == "hunter2"


async def test_every_setting_has_a_default_of_its_type(stage: Stage):
    """And every one can be listed."""
    rows = await stage.admin("listConfigurations")
    from sysvm.store.settings import SETTINGS

    assert {row["name"] for row in rows} == {setting.name for setting in SETTINGS.values()}
    faults = [setting.fault(setting.default) for setting in SETTINGS.values() if setting.default]
    assert [fault for fault in faults if fault] == []


# ---------------------------------------------------------------- events and alerts
async def test_changes_leave_events_and_async_ones_a_chain(stage: Stage):
    """Scheduled, Started, Completed, tied by parentid."""
    created = await stage.admin("createProject", name="p")
    events = await stage.admin("listEvents", type="PROJECT.CREATE")
    assert [row["state"] for row in events] == ["Completed", "Started", "Scheduled"]
    assert {row.get("parentid") for row in events} == {None, events[2]["id"]}
    assert {row["resourceid"] for row in events} == {created["id"]}
    await stage.admin("createDomain", name="east")
    (made,) = await stage.admin("listEvents", type="DOMAIN.CREATE")
    assert (made["state"], made["username"], made["level"], made["resourcename"]) == (
        "Completed",
        "admin",
        "INFO",
        "east",
    )
    assert len(await stage.admin("listEvents", startid=events[2]["id"])) == 3


async def test_events_are_archived_and_deleted_by_id_type_or_span(stage: Stage):
    """Only one's own; archived ones are listed when asked for."""
    user = await stage.user("ann")
    await user("createProject", name="p")
    mine = await user("listEvents", type="PROJECT.CREATE")
    other = await stage.user("bob")
    await other("archiveEvents", type="PROJECT.CREATE")
    assert len(await user("listEvents", type="PROJECT.CREATE")) == 3
    await user("archiveEvents", ids=[mine[0]["id"]])
    found = [len(await user("listEvents", type="PROJECT.CREATE", archived=flag)) for flag in (False, True)]
    assert found == [2, 1]
    await user("deleteEvents", type="PROJECT.CREATE")
    assert await user("listEvents", type="PROJECT.CREATE") == []


async def test_alerts_are_listed_archived_and_deleted(stage: Stage):
    """By number or name of their type."""
    for type_ in (9, 10):
        await stage.admin.job("generateAlert", name=f"a{type_}", description="look here", type=type_)
    (row,) = await stage.admin("listAlerts", type="ALERT.SERVICE.CONSOLEPROXY")
    assert_row_matches_catalogue("listAlerts", row)
    assert (row["type"], row["name"], row["description"]) == (10, "a10", "look here")
    await stage.admin("archiveAlerts", type=9)
    assert [one["type"] for one in await stage.admin("listAlerts")] == [10]
    await stage.admin("deleteAlerts", ids=[row["id"]])
    assert await stage.admin("listAlerts") == []


async def test_annotations_are_seen_by_whom_they_are_for(stage: Stage):
    """Notes for admins are not shown to users."""
    user = await stage.user("ann")
    for text, admins in (("for all", False), ("for us", True)):
        await stage.admin("addAnnotation", entitytype="USER", entityid=user.user_id, annotation=text, adminsonly=admins)
    seen = {asker.account: [row["annotation"] for row in await asker("listAnnotations", entitytype="USER", entityid=user.user_id)]
            for asker in (user, stage.admin)}  # fmt: skip
    assert seen == {"ann": ["for all"], "admin": ["for all", "for us"]}


async def test_an_account_keeps_a_name(stage: Stage):
    """An empty one is refused, not passed over."""
    await stage.user("ann")
    with refusal(431, "can't be empty"):
        await stage.admin("updateAccount", account="ann", domainid=stage.admin.domain_id, newname="")


async def test_users_of_one_account_may_renew_each_others_keys(stage: Stage):
    """What is the account's is all of theirs."""
    ann = await stage.user("ann")
    other = await stage.admin("createUser", username="otto", password="correct horse", firstname="o", lastname="o",
                              email="o@example.org", account="ann", domainid=stage.admin.domain_id)  # fmt: skip
    keys = await ann("registerUserKeys", id=other["id"])
    assert {"apikey", "secretkey"} <= set(keys)


async def test_a_locked_user_is_out_until_he_is_enabled(stage: Stage):
    ann = await stage.user("ann")
    locked = await stage.admin("lockUser", id=ann.user_id)
    assert ("locked", "ann") == (locked["state"], locked["username"])
    with refusal(401, ""):
        await ann("listUsers")
    assert "enabled" == (await stage.admin("enableUser", id=ann.user_id))["state"]
    assert 1 == len(await ann("listUsers"))
    with refusal(531, "Nobody locks himself"):
        await stage.admin("lockUser", id=stage.admin.user_id)


async def test_a_user_moves_to_another_account_of_his_domain(stage: Stage):
    ann, _ = await stage.user("ann"), await stage.user("bob")
    elsewhere = await stage.admin("createDomain", name="elsewhere")
    await stage.user("far", domain_id=elsewhere["id"])
    project = await ann.job("createProject", name="p")
    await stage.admin("moveUser", id=ann.user_id, account="bob")
    (moved,) = await stage.admin("listUsers", id=ann.user_id)
    assert "bob" == moved["account"]
    with refusal(531, ""):
        await ann("listProjects", id=project["id"])  # what was her account's is not hers any more
    (theirs,) = await stage.admin("listAccounts", name="far", listall=True)
    with refusal(431, "one domain to another"):
        await stage.admin("moveUser", id=ann.user_id, accountid=theirs["id"])
    with refusal(431, "in account bob already"):
        await stage.admin("moveUser", id=ann.user_id, account="bob")


async def test_a_suspended_project_takes_nothing_new(stage: Stage):
    ann = await stage.user("ann")
    project = await ann.job("createProject", name="p")
    assert "Suspended" == (await ann.job("suspendProject", id=project["id"]))["state"]
    with refusal(531, "no longer active"):
        await ann("createAffinityGroup", name="g", type="host affinity", projectid=project["id"])
    envelope = (await ann.ask("activateProject", id=project["id"])).json
    assert ["activaterojectresponse"] == list(envelope)
    (project,) = await ann("listProjects", id=project["id"])
    assert "Active" == project["state"]
    await ann("createAffinityGroup", name="g", type="host affinity", projectid=project["id"])
