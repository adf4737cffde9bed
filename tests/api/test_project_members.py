"""Accounts in projects: who sees and touches what, who changes the project, and invitations."""

import pytest

from tests.api.rows import assert_row_matches_catalogue
from tests.api.stage import Stage, refusal

GROUP = {"name": "g", "type": "host affinity"}


async def test_a_member_touches_what_is_the_projects_and_a_stranger_does_not(stage: Stage):
    ann, bob, cid = [await stage.user(name) for name in ("ann", "bob", "cid")]
    project = await ann.job("createProject", name="p")
    with refusal(531):
        await bob("createAffinityGroup", projectid=project["id"], **GROUP)
    assert [] == await bob("listProjects")
    await ann("addAccountToProject", projectid=project["id"], account="bob")
    for listed in ({}, {"listall": True}, {"id": project["id"]}):
        assert ["p"] == [row["name"] for row in await bob("listProjects", **listed)]
    made = await bob("createAffinityGroup", projectid=project["id"], **GROUP)
    for who in (ann, bob):
        assert [made["id"]] == [row["id"] for row in await who("listAffinityGroups", projectid=project["id"])]
        assert [made["id"]] == [row["id"] for row in await who("listAffinityGroups", projectid="-1")]
    assert [] == await cid("listAffinityGroups", projectid="-1")
    with refusal(531):
        await cid("listAffinityGroups", projectid=project["id"])
    await ann("deleteAccountFromProject", projectid=project["id"], account="bob")
    with refusal(531):
        await bob("deleteAffinityGroup", id=made["id"])
    assert [] == await bob("listProjects", listall=True)


async def test_members_are_listed_the_owner_first(stage: Stage):
    ann, _ = await stage.user("ann"), await stage.user("bob")
    project = await ann.job("createProject", name="p")
    await ann("addAccountToProject", projectid=project["id"], account="bob")
    rows = await ann("listProjectAccounts", projectid=project["id"])
    assert [("ann", "Admin", "ann"), ("bob", "Regular", "bob")] == [
        (row["account"], row["role"], row["user"][0]["username"]) for row in rows
    ]
    assert_row_matches_catalogue("listProjectAccounts", rows[1])
    assert ["bob"] == [row["account"] for row in await ann("listProjectAccounts", projectid=project["id"], role="regular")]
    (root,) = [row["id"] for row in await stage.admin("listProjects", projectid="-1", listall=True)]
    assert project["id"] == root  # once, however many are in it


async def test_only_admins_of_a_project_change_it(stage: Stage):
    ann, bob, _ = [await stage.user(name) for name in ("ann", "bob", "cid")]
    project = await ann.job("createProject", name="p")
    await ann("addAccountToProject", projectid=project["id"], account="bob")
    changes = (
        ("updateProject", {"id": project["id"], "displaytext": "mine"}),
        ("suspendProject", {"id": project["id"]}),
        ("deleteProject", {"id": project["id"]}),
        ("addAccountToProject", {"projectid": project["id"], "account": "cid"}),
        ("deleteAccountFromProject", {"projectid": project["id"], "account": "ann"}),
    )
    for command, params in changes:
        with refusal(531):
            await bob(command, **params)
    await ann.job("updateProject", id=project["id"], account="bob", roletype="Admin", swapowner=False)
    assert "mine" == (await bob.job("updateProject", id=project["id"], displaytext="mine"))["displaytext"]
    with refusal(431, "its owner"):
        await bob("deleteAccountFromProject", projectid=project["id"], account="ann")


async def test_a_former_owner_stays_as_a_member(stage: Stage):
    ann, bob = await stage.user("ann"), await stage.user("bob")
    project = await ann.job("createProject", name="p")
    await ann("addAccountToProject", projectid=project["id"], account="bob")
    await ann.job("updateProject", id=project["id"], account="bob")
    rows = await bob("listProjectAccounts", projectid=project["id"])
    assert [("bob", "Admin"), ("ann", "Regular")] == [(row["account"], row["role"]) for row in rows]


REFUSED = (
    ({"account": "nobody"}, "Unable to find account nobody"),
    ({"email": "a@example.org"}, "Must specify account"),
    ({"account": "bob", "roletype": "King"}, "Invalid role type King"),
)


@pytest.mark.parametrize(("params", "text"), REFUSED)
async def test_who_cannot_be_added(stage: Stage, params: dict[str, str], text: str):
    ann, _ = await stage.user("ann"), await stage.user("bob")
    project = await ann.job("createProject", name="p")
    with refusal(431, text):
        await ann("addAccountToProject", projectid=project["id"], **params)


async def test_an_invitation_is_accepted_declined_deleted_or_too_old(stage: Stage):
    await stage.admin("updateConfiguration", name="project.invite.required", value="true")
    ann, bob, cid = [await stage.user(name) for name in ("ann", "bob", "cid")]
    project = await ann.job("createProject", name="p")
    here = {"projectid": project["id"]}
    await ann("addAccountToProject", account="bob", **here)
    with refusal(536, "already a pending invitation"):
        await ann("addAccountToProject", account="bob", **here)
    (invitation,) = await bob("listProjectInvitations")
    assert ("Pending", "p", "bob") == (invitation["state"], invitation["project"], invitation["account"])
    assert_row_matches_catalogue("listProjectInvitations", invitation)
    assert ([], [invitation]) == (await cid("listProjectInvitations"), await ann("listProjectInvitations", **here))
    with refusal(531):
        await bob("listProjectAccounts", **here)
    with refusal(431, "Unable to find an invitation of account cid"):
        await cid("updateProjectInvitation", accept=True, **here)
    with refusal(531):
        await cid("updateProjectInvitation", accept=True, account="bob", **here)
    await bob("updateProjectInvitation", accept=True, **here)
    assert 2 == len(await bob("listProjectAccounts", **here))

    await ann("addAccountToProject", account="cid", **here)
    await cid("updateProjectInvitation", accept=False, **here)
    assert ["Declined"] == [row["state"] for row in await ann("listProjectInvitations", **here)]
    await ann("addAccountToProject", account="cid", **here)
    await stage.admin("updateConfiguration", name="project.invite.timeout", value="60")
    stage.clock.advance(61)
    assert ["Expired"] == [row["state"] for row in await cid("listProjectInvitations")]
    with refusal(431, "expired"):
        await cid("updateProjectInvitation", accept=True, **here)
    (old,) = await ann("listProjectInvitations", **here)
    with refusal(531):
        await bob("deleteProjectInvitation", id=old["id"])
    await ann("deleteProjectInvitation", id=old["id"])
    assert [] == await cid("listProjectInvitations")


async def test_who_is_in_a_project_is_added_again_without_a_word(stage: Stage):
    """CloudStack's own tests add the owner."""
    ann, _ = await stage.user("ann"), await stage.user("bob")
    project = await ann.job("createProject", name="p")
    for name in ("ann", "bob", "bob"):
        await ann("addAccountToProject", projectid=project["id"], account=name)
    assert ["ann", "bob"] == [row["account"] for row in await ann("listProjectAccounts", projectid=project["id"])]


async def test_projects_go_with_their_domain(stage: Stage):
    domain = await stage.admin("createDomain", name="east")
    ann = await stage.user("ann", domain_id=domain["id"])
    project = await ann.job("createProject", name="p")
    await stage.admin("deleteDomain", id=domain["id"], cleanup=True)
    assert [] == await stage.admin("listProjects", listall=True)
    with refusal(431, "entity does not exist"):
        await stage.admin("updateProject", id=project["id"], displaytext="back")
