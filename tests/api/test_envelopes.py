"""Answers as clients read them: one key, counts, empty lists, jobs, XML, errors."""

from urllib.parse import urlencode
from xml.etree import ElementTree

import pytest

from tests.api.rows import assert_row_matches_catalogue
from tests.api.stage import Stage, refusal, send, signed


async def test_a_list_has_the_count_of_all_pages_and_its_rows(stage: Stage):
    """`cs` asks for pages until it has `count` rows."""
    for name in "abc":
        await stage.admin("createDomain", name=name)
    answer = await stage.admin.ask("listDomains", page=2, pagesize=3)
    body = answer.json["listdomainsresponse"]
    assert (
        body["count"],
        len(body["domain"]),
        answer.header("content-type"),
    ) == (4, 1, "application/json; charset=UTF-8")


async def test_an_empty_list_is_an_empty_object(stage: Stage):
    """No count, no rows: Go and cs rely on it."""
    assert (await stage.admin.ask("listProjects", listall=True)).json == {"listprojectsresponse": {}}


async def test_an_async_answer_has_the_job_and_nothing_else(stage: Stage):
    """A create command has the object's id, too, before it."""
    domain = await stage.admin("createDomain", name="east")
    deleted = await stage.admin.ask("deleteDomain", id=domain["id"])
    created = await stage.admin.ask("createProject", name="p")
    assert (
        list(deleted.json["deletedomainresponse"]), list(created.json["createprojectresponse"])
    ) == (["jobid"], ["id", "jobid"])  # fmt: skip


async def test_a_finished_job_has_one_key_in_its_result(stage: Stage):
    """go-cloudstack takes the only value; cs reads jobresultcode without a default."""
    created = await stage.admin("createProject", name="p")
    job = await stage.admin("queryAsyncJobResult", jobid=created["jobid"])
    assert (1, 0, "object", ["project"], "Project", created["id"]) == (
        job["jobstatus"], job["jobresultcode"], job["jobresulttype"], list(job["jobresult"]), job["jobinstancetype"],
        job["jobinstanceid"],
    )  # fmt: skip
    assert_row_matches_catalogue("queryAsyncJobResult", job)
    assert_row_matches_catalogue("createProject", job["jobresult"]["project"])


async def test_jobstatus_is_the_seventh_word_of_the_text(stage: Stage):
    """A script of CloudStack's cuts it out."""
    created = await stage.admin("createProject", name="p")
    answer = await stage.admin.ask("queryAsyncJobResult", jobid=created["jobid"])
    assert answer.body.decode().split(",")[6] == '"jobstatus":1'


async def test_a_caller_may_choose_the_id_of_his_job_once(stage: Stage):
    """injectedjobid, customjobid."""
    chosen = "11111111-2222-3333-4444-555555555555"
    created = await stage.admin("createProject", name="p", injectedjobid=chosen)
    assert chosen == created["jobid"]
    with refusal(431, "There is a job"):
        await stage.admin("createProject", name="q", customjobid=chosen)
    with refusal(431, "injectedjobid"):
        await stage.admin("createProject", name="q", injectedjobid="my job")
    assert await stage.admin("listProjects", name="q") == []


async def test_nobody_sees_the_jobs_of_others(stage: Stage):
    """531, for the job exists."""
    one, two = await stage.user("one"), await stage.user("two")
    created = await one("createProject", name="p")
    with refusal(531):
        await two("queryAsyncJobResult", jobid=created["jobid"])
    with refusal(431, "Invalid parameter jobid value=11111111-2222-3333-4444-555555555555 due to incorrect long value format,"
                 " or entity does not exist"):  # fmt: skip
        await two("queryAsyncJobResult", jobid="11111111-2222-3333-4444-555555555555")


async def xml(stage: Stage, command: str, **params: str) -> tuple[int, ElementTree.Element, str]:
    given = signed({"command": command, "response": "xml", **params}, "admin-key", "admin-secret")
    answer = await send(stage.apps.main, urlencode(given))
    return answer.status, ElementTree.fromstring(answer.body), answer.header("content-type")


async def test_xml_mirrors_json(stage: Stage):
    """Root is the envelope, a count, an element per row; the version is an attribute of the root."""
    await stage.admin("createDomain", name='<&"ä>')
    status, root, type_ = await xml(stage, "listDomains")
    names = [row.findtext("name") for row in root.findall("domain")]
    assert (
        status, root.tag, root.get("cloud-stack-version"), root.findtext("count"), names
    ) == (200, "listdomainsresponse", "4.20.0.0", "2", ["ROOT", "<&\"ä>"])  # fmt: skip
    assert type_.startswith("text/xml")


async def test_xml_errors_and_success_sit_under_the_root(stage: Stage):
    """Lists in rows repeat an element with the list's name."""
    status, root, _ = await xml(stage, "listUsers", page="1")
    assert (
        status, root.findtext("errorcode"), root.findtext("errortext")
    ) == (431, "431", '"pagesize" parameter is required when "page" is specified')  # fmt: skip
    _, root, _ = await xml(stage, "listAccounts", listall="true", name="admin")
    assert [user.findtext("username") for user in root.findall("account/user")] == ["admin"]


@pytest.mark.parametrize("response", ["", "xml", "yaml"])
async def test_whatever_is_not_json_is_xml(stage: Stage, response: str):
    """As CloudStack does."""
    given = signed({"command": "listUsers", "response": response}, "admin-key", "admin-secret")
    assert (await send(stage.apps.main, urlencode(given))).body.startswith(b"<?xml")


async def test_an_error_has_status_code_text_and_header(stage: Stage):
    """HTTP status = errorcode; the text also in X-Description."""
    answer = await stage.admin.ask("createDomain")
    text = "Unable to execute API command createdomain due to missing parameter name"
    assert answer.status == 431
    assert {"createdomainresponse": {"uuidList": [], "errorcode": 431, "cserrorcode": 4350, "errortext": text}} == answer.json
    assert text == answer.header("x-description")


async def test_a_bug_is_answered_with_530_and_no_detail(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    """The log has the traceback, the caller has not."""
    from sysvm.api import handlers

    def broken(_call):
        raise ZeroDivisionError("secret detail")

    monkeypatch.setitem(handlers._handlers, "listUsers", handlers.Handler(broken, True))
    sent = []
    given = urlencode(signed({"command": "listUsers"}, "admin-key", "admin-secret"))
    scope = {"type": "http", "method": "GET", "path": "/client/api", "query_string": given.encode(), "headers": [],
             "scheme": "http", "server": ("127.0.0.1", 80), "client": None}  # fmt: skip

    async def collect(message):
        sent.append(message)

    with pytest.raises(ZeroDivisionError):
        await stage.apps.main(scope, None, collect)
    assert sent[0]["status"] == 530
    assert b"secret detail" not in sent[1]["body"]
    assert b"listusersresponse" in sent[1]["body"]


async def test_the_api_is_at_one_path_with_or_without_a_slash(stage: Stage):
    """Everything else is 404."""
    given = urlencode(signed({"command": "listUsers"}, "admin-key", "admin-secret"))
    found = [(await send(stage.apps.main, given, path=path)).status for path in ("/client/api", "/client/api/", "/api", "/")]
    assert found == [200, 200, 404, 404]


async def test_methods_that_are_not_used_are_405(stage: Stage):
    """Only GET and POST."""
    assert (await send(stage.apps.main, "command=listUsers", method="DELETE")).status == 405


async def test_post_and_expiry_can_be_enforced(stage: Stage):
    """Then a change over GET is 400, and `expires` at most 15 minutes ahead."""
    await stage.admin("updateConfiguration", name="enforce.post.requests.and.timestamps", value="true")
    base = {"command": "createDomain", "name": "d", "signatureVersion": "3", "expires": "2023-11-14T22:20:00Z"}
    given = urlencode(signed(base, "admin-key", "admin-secret"))
    assert (await send(stage.apps.main, given)).status == 400
    assert (await send(stage.apps.main, method="POST", body=given.encode())).status == 200
    far = urlencode(signed({**base, "name": "e", "expires": "2023-11-14T22:40:00Z"}, "admin-key", "admin-secret"))
    assert (await send(stage.apps.main, method="POST", body=far.encode())).status == 401
