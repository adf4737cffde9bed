"""Lists: who sees what, pages, filters, tags."""

import pytest

from tests.api.rows import assert_row_matches_catalogue
from tests.api.stage import Asker, Stage, refusal


async def cast(stage: Stage) -> dict[str, Asker]:
    """ROOT/east/{north,south}, with admins and users; each user has a project as something owned."""
    made: dict[str, Asker] = {}
    east = await stage.admin("createDomain", name="east")
    west = await stage.admin("createDomain", name="west")
    north = await stage.admin("createDomain", name="north", parentdomainid=east["id"])
    for name, domain, role in (
        ("eastboss", east, "Domain Admin"), ("eve", east, "User"), ("ned", north, "User"), ("wes", west, "User")
    ):  # fmt: skip
        made[name] = await stage.user(name, domain_id=domain["id"], role=role)
        await made[name].job("createProject", name=f"of-{name}")
    made["root"] = stage.admin
    return made


async def names(asker: Asker, **params: object) -> str:
    return " ".join(sorted(row["name"].removeprefix("of-") for row in await asker("listProjects", **params)))


async def test_who_sees_what(stage: Stage):
    """Rows: who asks, with which parameters, what he sees."""
    who = await cast(stage)
    domain = {name: asker.domain_id for name, asker in who.items()}
    table = [
        ("eve", {}, "eve"),
        ("eve", {"listall": True}, "eve"),
        ("eve", {"listall": True, "isrecursive": True}, "eve"),
        ("eastboss", {}, "eastboss"),
        ("eastboss", {"listall": True}, "eastboss eve ned"),
        ("eastboss", {"domainid": domain["eve"]}, "eastboss eve"),
        ("eastboss", {"domainid": domain["eve"], "isrecursive": True}, "eastboss eve ned"),
        ("eastboss", {"domainid": domain["ned"]}, "ned"),
        ("eastboss", {"domainid": domain["ned"], "account": "ned"}, "ned"),
        ("root", {}, ""),
        ("root", {"listall": True}, "eastboss eve ned wes"),
        ("root", {"domainid": domain["eve"]}, "eastboss eve"),
        ("root", {"domainid": domain["root"], "isrecursive": True}, "eastboss eve ned wes"),
        ("root", {"account": "wes", "domainid": domain["wes"]}, "wes"),
        ("root", {"listall": True, "keyword": "E"}, "eastboss eve ned wes"),
        ("root", {"listall": True, "keyword": "we"}, "wes"),
        ("root", {"listall": True, "keyword": "%"}, ""),
        ("root", {"listall": True, "name": "of-ned"}, "ned"),
        ("root", {"listall": True, "name": "ned"}, ""),
    ]
    seen = [(one, params, await names(who[one], **params)) for one, params, _ in table]
    assert seen == table


async def test_what_is_not_ones_own_to_name_is_531(stage: Stage):
    """Somebody else's domain, account or object."""
    who = await cast(stage)
    (other,) = await stage.admin("listProjects", name="of-wes", listall=True)
    for params in (
        {"domainid": who["wes"].domain_id},
        {"domainid": who["wes"].domain_id, "account": "wes"},
        {"id": other["id"]},
    ):
        with refusal(531, "does not have permission"):
            await who["eastboss"]("listProjects", **params)
        with refusal(531, "does not have permission"):
            await who["eve"]("listProjects", **params)


async def test_an_object_of_a_domain_below_is_found_by_its_id(stage: Stage):
    """Without listall: clients ask so."""
    who = await cast(stage)
    (ned,) = await stage.admin("listProjects", name="of-ned", listall=True)
    assert await names(who["eastboss"], id=ned["id"]) == "ned"


async def test_pages_do_not_overlap_and_count_all(stage: Stage):
    """Seven domains by three."""
    for name in "abcdef":
        await stage.admin("createDomain", name=name)
    pages = [(await stage.admin.ask("listDomains", page=page, pagesize=3)).json["listdomainsresponse"] for page in (1, 2, 3, 4)]
    assert [[row["name"] for row in page.get("domain", [])] for page in pages] == [
        ["ROOT", "a", "b"], ["c", "d", "e"], ["f"], []
    ]  # fmt: skip
    assert [page.get("count") for page in pages] == [7, 7, 7, None]


async def test_without_a_page_there_are_at_most_as_many_rows_as_the_setting_says(stage: Stage):
    """pagesize=-1 is everything."""
    for name in "abc":
        await stage.admin("createDomain", name=name)
    await stage.admin("updateConfiguration", name="default.page.size", value=2)
    cut = (await stage.admin.ask("listDomains")).json["listdomainsresponse"]
    everything = (await stage.admin.ask("listDomains", pagesize=-1)).json["listdomainsresponse"]
    assert [(body["count"], len(body["domain"])) for body in (cut, everything)] == [(4, 2), (4, 4)]


async def test_tags_are_put_on_found_by_and_taken_off(stage: Stage):
    """In the rows of lists, as a filter, in listTags."""
    user = await stage.user()
    project = await user.job("createProject", name="p")
    await user.job("createProject", name="q")
    await user.job("createTags", resourceids=project["id"], resourcetype="project", tags__0__key="env", tags__0__value="ä=1",
                   tags__1__key="b", tags__1__value="")  # fmt: skip
    (found,) = await user("listProjects", tags__0__key="env", tags__0__value="ä=1")
    assert [(tag["key"], tag["value"], tag["resourceid"]) for tag in found["tags"]] == [
        ("env", "ä=1", project["id"]), ("b", "", project["id"])
    ]  # fmt: skip
    for row in await user("listTags", resourcetype="Project"):
        assert_row_matches_catalogue("listTags", row)
    with refusal(431, "already"):
        await user("createTags", resourceids=project["id"], resourcetype="Project", tags__0__key="env", tags__0__value="2")
    with refusal(531):
        await (await stage.user("other"))("deleteTags", resourceids=project["id"], resourcetype="Project")
    await user.job("deleteTags", resourceids=project["id"], resourcetype="Project", tags__0__key="env")
    assert [tag["key"] for tag in await user("listTags")] == ["b"]
    with refusal(431, "Unable to find any tags"):
        await user("deleteTags", resourceids=project["id"], resourcetype="Project", tags__0__key="env")


@pytest.mark.parametrize(
    ("command", "params"),
    [
        ("listUsers", {"listall": True}), ("listAccounts", {"listall": True}), ("listDomains", {}), ("listRoles", {}),
        ("listProjects", {"listall": True}), ("listResourceLimits", {}), ("listEvents", {"listall": True}),
        ("listEventTypes", {}), ("listAlertTypes", {}), ("listConfigurations", {}), ("listConfigurationGroups", {}),
        ("listAsyncJobs", {"startdate": "2020-01-01", "listall": True}), ("listRolePermissions", {}), ("listAlerts", {}),
        ("listAnnotations", {}), ("listDomainChildren", {}), ("listApis", {"name": "listUsers"}), ("listOsTypes", {}),
        ("listCapabilities", {}), ("listInfrastructure", {}),
    ],
)  # fmt: skip
async def test_rows_are_as_the_catalogue_says(stage: Stage, command: str, params: dict[str, object]):
    """Known fields, right types, no nulls."""
    who = await cast(stage)
    role = await stage.admin("createRole", name="r", type="User")
    await stage.admin("createRolePermission", roleid=role["id"], rule="list*", permission="allow")
    await stage.admin.job("generateAlert", name="n", description="d", type=9)
    await stage.admin("addAnnotation", entitytype="USER", entityid=who["eve"].user_id, annotation="hm")
    rows = await stage.admin(command, **params)
    assert rows
    for row in rows if isinstance(rows, list) else [rows]:
        assert_row_matches_catalogue(command, row)


async def test_of_what_is_deleted_there_is_nothing_to_list_and_that_is_no_fault(stage: Stage):
    """Clients ask whether it is gone by listing its id; an id that never was stays a fault."""
    made = await stage.admin("createDiskOffering", name="small", displaytext="small", disksize=1)
    await stage.admin("deleteDiskOffering", id=made["id"])
    assert [] == await stage.admin("listDiskOfferings", id=made["id"])
    with refusal(431, "due to incorrect long value format, or entity does not exist"):
        await stage.admin("listDiskOfferings", id="b3a7e9aa-0000-4000-8000-000000000000")
    with refusal(431, ""):
        await stage.admin("updateDiskOffering", id=made["id"], name="again")


async def test_with_listall_all_projects_come_beside_what_is_no_projects(stage: Stage):
    """projectid=-1 alone is projects only; the web UI asks for both, and shows no router otherwise."""
    eve = await stage.user("eve")
    project = await eve.job("createProject", name="p")
    given = {"name": "k", "publickey": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHkP8Y0q3v0x3uM4Kf8xMpX1sQ0eG3d9k1b3Q3J3c0aB"}
    await eve("registerSSHKeyPair", **{**given, "name": "own"})
    await eve("registerSSHKeyPair", **{**given, "name": "projects"}, projectid=project["id"])

    async def seen(who: Asker, **params: object) -> list[str]:
        return sorted(row["name"] for row in await who("listSSHKeyPairs", projectid="-1", **params))

    other = await stage.user("other")
    assert (["projects"], ["own", "projects"]) == (await seen(eve), await seen(eve, listall=True))
    assert (["projects"], ["own", "projects"]) == (await seen(stage.admin), await seen(stage.admin, listall=True))
    assert ([], []) == (await seen(other), await seen(other, listall=True))
