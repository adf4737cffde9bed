"""Templates and ISOs: registering, what the owner reads of the download, who sees which, sharing, removing."""

from typing import Any

import pytest
import sqlalchemy as sa

from sysvm.store import tables
from tests.api.rows import assert_row_matches_catalogue
from tests.api.stage import Asker, refusal
from tests.api_infrastructure.cloud import Cloud, make_physical_network, make_zone


async def names(who: Asker, **params: Any) -> list[str]:
    return sorted(row["name"] for row in await who("listTemplates", **params))


async def test_registering_wishes_a_copy(cloud: Cloud):
    """The answer is a list of one; the copy's turn is due."""
    row = await cloud.template(checksum="{sha-256}" + "A" * 64, details__0__rootDiskController="virtio", isextractable=True)
    assert_row_matches_catalogue("registerTemplate", row)
    assert (False, "Processing", "USER", "KVM", "QCOW2", "zone1") == tuple(
        row[name] for name in ("isready", "status", "templatetype", "hypervisor", "format", "zonename")
    )
    assert ("{SHA-256}" + "a" * 64, {"rootDiskController": "virtio"}) == (row["checksum"], row["details"])
    assert [1] == await cloud.turns("template")


@pytest.mark.parametrize(
    ("state", "values", "status", "ready"),
    [
        ("NOT_DOWNLOADED", {}, "Processing", False),
        ("DOWNLOAD_IN_PROGRESS", {"progress": 41.7}, "41% Downloaded", False),
        ("DOWNLOAD_IN_PROGRESS", {"progress": 100.0}, "Installing Template", False),
        ("DOWNLOADED", {"progress": 100.0}, "Download Complete", True),
        ("BYPASSED", {}, "Bypassed Secondary Storage", True),
        ("DOWNLOAD_ERROR", {"error": "checksum differs"}, "checksum differs", False),
    ],
)
async def test_what_the_owner_reads_of_the_download(cloud: Cloud, state: str, values: dict[str, Any], status: str, ready: bool):
    """Status, readiness and details say the same."""
    row = await cloud.template()
    await cloud.downloaded(row["id"], state, **values)
    (row,) = await cloud.admin("listTemplates", templatefilter="self", id=row["id"])
    assert_row_matches_catalogue("listTemplates", row)
    assert (status, ready) == (row["status"], row["isready"])
    assert state == row["downloaddetails"][0]["downloadState"]


async def test_one_row_per_zone(cloud: Cloud):
    """With -1 every zone with an image store gets a copy, also a later one."""
    second = await make_zone(cloud.stage, "zone2")
    await make_physical_network(cloud.admin, second["id"])
    rows = await cloud.admin(
        "registerTemplate",
        name="everywhere",
        format="QCOW2",
        hypervisor="KVM",
        zoneids="-1",
        url="http://example.org/e.qcow2",
    )
    assert ["zone1"] == [row["zonename"] for row in rows]
    await cloud.admin("addImageStore", zoneid=second["id"], provider="Filesystem", url="file:///srv/images")
    rows = await cloud.admin("listTemplates", templatefilter="self", name="everywhere")
    assert ["zone1", "zone2"] == [row["zonename"] for row in rows]
    assert [True, True] == [row["crossZones"] for row in rows]
    assert 1 == len(await cloud.admin("listTemplates", templatefilter="self", name="everywhere", showunique=True))
    assert 1 == len(await cloud.admin("listTemplates", templatefilter="self", name="everywhere", zoneid=second["id"]))


async def test_filters(cloud: Cloud):
    """Who sees which template under which filter."""
    owner, other = await cloud.stage.user("owner"), await cloud.stage.user("other")
    ready = []
    for name, who, params in (
        ("private", owner, {}),
        ("public", owner, {"ispublic": True}),
        ("featured", cloud.admin, {"ispublic": True, "isfeatured": True}),
        ("shared", owner, {}),
    ):
        ready.append(await cloud.template(who, name=name, **params))
    await cloud.template(owner, name="loading", ispublic=True)
    for row in ready:
        await cloud.downloaded(row["id"])
    await owner("updateTemplatePermissions", id=ready[3]["id"], op="add", accounts="other")

    async def seen(who: Asker, filter_: str) -> list[str]:
        return await names(who, templatefilter=filter_)

    assert ["loading", "private", "public", "shared"] == await seen(owner, "self")
    assert ["private", "public", "shared"] == await seen(owner, "selfexecutable")
    assert ["featured"] == await seen(owner, "featured")
    assert ["loading", "public"] == await seen(other, "community")
    assert ["shared"] == await seen(other, "sharedexecutable")
    assert ["featured", "public", "shared"] == await seen(other, "executable")
    assert [] == await seen(other, "self")
    assert ["featured", "loading", "private", "public", "shared"] == await seen(cloud.admin, "all")
    with refusal(431, "root admin only"):
        await seen(other, "all")


async def test_system_templates_are_hidden(cloud: Cloud):
    """They appear with templatefilter=all, which is the root admin's."""
    system = await cloud.template(name="SystemVM Template (KVM)", templatetype="SYSTEM", ispublic=True)
    await cloud.downloaded(system["id"])
    for filter_ in ("self", "executable", "community", "featured"):
        assert [] == await names(cloud.admin, templatefilter=filter_), filter_
    assert ["SystemVM Template (KVM)"] == await names(cloud.admin, templatefilter="all")


async def test_only_root_registers_for_routing_and_features(cloud: Cloud):
    """531 for what a user may not; isfeatured is passed over, as in CloudStack."""
    user = await cloud.stage.user()
    for params in ({"isrouting": True}, {"templatetype": "SYSTEM"}, {"templatetag": "x"}, {"url": "file:///import/t.qcow2"},
                   {"zoneid": None, "zoneids": "-1"}):  # fmt: skip
        with refusal(531):
            await cloud.template(user, **params)
    row = await cloud.template(user, isfeatured=True)
    assert not row["isfeatured"]
    routing = await cloud.template(isrouting=True, name="r")
    assert "ROUTING" == routing["templatetype"]


async def test_other_accounts_may_not_touch_it(cloud: Cloud):
    """531, though a public template may be seen; its url may not."""
    owner, other = await cloud.stage.user("owner"), await cloud.stage.user("other")
    row = await cloud.template(owner, ispublic=True)
    for command in ("updateTemplate", "deleteTemplate", "updateTemplatePermissions", "listTemplatePermissions"):
        with refusal(531):
            await other(command, id=row["id"], op="reset")
    (seen,) = await other("listTemplates", templatefilter="community", id=row["id"])
    assert "url" not in seen
    (own,) = await owner("listTemplates", templatefilter="self", id=row["id"])
    assert "http://example.org/tiny.qcow2" == own["url"]


async def test_permissions(cloud: Cloud):
    """Added, listed, removed, reset."""
    owner = await cloud.stage.user("owner")
    for name in ("one", "two"):
        await cloud.stage.user(name)
    row = await cloud.template(owner)

    async def accounts() -> list[str]:
        (found,) = await owner("listTemplatePermissions", id=row["id"])
        assert_row_matches_catalogue("listTemplatePermissions", found)
        return found["account"]

    await owner("updateTemplatePermissions", id=row["id"], op="add", accounts="one,two")
    assert ["one", "two"] == await accounts()
    await owner("updateTemplatePermissions", id=row["id"], op="remove", accounts="one")
    assert ["two"] == await accounts()
    with refusal(431, "there is none"):
        await owner("updateTemplatePermissions", id=row["id"], op="add", accounts="nobody")
    with refusal(431, "add, remove or reset"):
        await owner("updateTemplatePermissions", id=row["id"], op="multiply", accounts="one")
    with refusal(531, "isfeatured"):
        await owner("updateTemplatePermissions", id=row["id"], isfeatured=True)
    await owner("updateTemplatePermissions", id=row["id"], op="reset")
    assert [] == await accounts()


async def test_update_template(cloud: Cloud):
    """What it says of itself."""
    row = await cloud.template()
    (system,) = await cloud.admin("listOsTypes", description="Debian GNU/Linux 12 (64-bit)")
    changed = await cloud.admin(
        "updateTemplate", id=row["id"], name="renamed", displaytext="d", ostypeid=system["id"], passwordenabled=True,
        details__0__a="1",
    )  # fmt: skip
    assert_row_matches_catalogue("updateTemplate", changed)
    assert ("renamed", "d", system["id"], True, {"a": "1"}) == tuple(
        changed[name] for name in ("name", "displaytext", "ostypeid", "passwordenabled", "details")
    )
    changed = await cloud.admin("updateTemplate", id=row["id"], cleanupdetails=True)
    assert "details" not in changed


async def test_delete_template(cloud: Cloud):
    """Not while a machine was made from it, unless forced; then its copies are unwanted and the job waits for them."""
    row = await cloud.template()
    await cloud.machine(template=row["id"])
    with refusal(536, "1 machines use it"):
        await cloud.admin("deleteTemplate", id=row["id"])
    accepted = await cloud.admin("deleteTemplate", id=row["id"], forced=True)
    assert 0 == (await cloud.admin("queryAsyncJobResult", jobid=accepted["jobid"]))["jobstatus"]
    assert [] == await names(cloud.admin, templatefilter="all")
    (copy,) = await cloud.stage.store.read(lambda tx: tx.all(sa.select(tables.template_copy)))
    assert not copy.wanted
    with refusal(431, "entity does not exist"):
        await cloud.admin("deleteTemplate", id=row["id"])


async def test_isos(cloud: Cloud):
    """Registered, listed, changed, shared and deleted like templates, by commands of their own."""
    (row,) = await cloud.admin("registerIso", name="i", displaytext="i", zoneid=cloud.zone["id"], url="http://example.org/i.iso")
    assert_row_matches_catalogue("registerIso", row)
    assert row["bootable"]
    assert [] == await cloud.admin("listIsos"), "selfexecutable by default: it is not downloaded"
    (listed,) = await cloud.admin("listIsos", isofilter="self", isready=False)
    assert_row_matches_catalogue("listIsos", listed)
    assert [] == await names(cloud.admin, templatefilter="all"), "an ISO is no template"
    await cloud.downloaded(row["id"])
    assert 1 == len(await cloud.admin("listIsos"))
    changed = await cloud.admin("updateIso", id=row["id"], name="j")
    assert "j" == changed["name"]
    await cloud.admin("updateIsoPermissions", id=row["id"], ispublic=True)
    (permission,) = await cloud.admin("listIsoPermissions", id=row["id"])
    assert permission["ispublic"]
    with refusal(431, "entity does not exist"):
        await cloud.admin("updateTemplate", id=row["id"], name="x")
    await cloud.admin("deleteIso", id=row["id"])
    assert [] == await cloud.admin("listIsos", isofilter="self")


async def test_prepare_template(cloud: Cloud):
    """A zone that has no copy yet gets one."""
    row = await cloud.template()
    second = await make_zone(cloud.stage, "zone2")
    with refusal(431, "addImageStore"):
        await cloud.admin("prepareTemplate", templateid=row["id"], zoneid=second["id"])
    await cloud.admin("addImageStore", zoneid=second["id"], provider="Filesystem", url="file:///srv/images")
    (prepared,) = await cloud.admin("prepareTemplate", templateid=row["id"], zoneid=second["id"])
    assert "zone2" == prepared["zonename"]


async def test_a_disabled_zone_takes_no_templates_of_users(cloud: Cloud):
    """531, as it says that the zone is disabled."""
    user = await cloud.stage.user()
    await cloud.admin("updateZone", id=cloud.zone["id"], allocationstate="Disabled")
    with refusal(531, "currently disabled"):
        await cloud.template(user)


async def test_an_account_has_a_limit_of_templates(cloud: Cloud):
    """535 when it is reached."""
    user = await cloud.stage.user("few")
    await cloud.stage.admin("updateResourceLimit", resourcetype=4, account="few", domainid=cloud.stage.admin.domain_id, max=1)
    await cloud.template(user)
    with refusal(535):
        await cloud.template(user)


async def test_who_names_one_template_gets_it_when_he_may_use_it(cloud: Cloud):
    """Whatever filter and account are given beside its id: how Terraform and CloudStack's own tests look for one."""
    owner, other = await cloud.stage.user("owner"), await cloud.stage.user("other")
    private = await cloud.template(owner, name="private")
    public = await cloud.template(owner, name="public", ispublic=True)
    system = await cloud.template(name="system", templatetype="SYSTEM", ispublic=True)

    async def seen(who: Asker, row: dict[str, str], filter_: str, **params: object) -> list[str]:
        return await names(who, templatefilter=filter_, id=row["id"], **params)

    here = {"account": "admin", "domainid": cloud.admin.domain_id}
    assert (["private"], ["private"]) == (await seen(owner, private, "featured"), await seen(cloud.admin, private, "self"))
    assert ["private"] == await seen(cloud.admin, private, "all", **here)
    assert (["public"], []) == (await seen(other, public, "self"), await seen(other, private, "executable"))
    assert ([], ["system"]) == (await seen(other, system, "self"), await seen(cloud.admin, system, "self"))
    assert ["private", "public", "system"] == await names(cloud.admin, templatefilter="all", **here)
    await cloud.admin("deleteTemplate", id=public["id"])
    assert [] == await seen(other, public, "featured")
