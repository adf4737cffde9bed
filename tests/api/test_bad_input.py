"""Bad input gets the right code and a sentence that says what is wrong, and leaves nothing behind."""

from urllib.parse import urlencode

import pytest

from sysvm.api import catalogue, params
from sysvm.basics.errors import Refused
from tests.api.stage import Stage, refusal, send, signed

NOWHERE = "11111111-2222-3333-4444-555555555555"

CASES = [
    ("createDomain", {}, 431, "due to missing parameter name"),
    ("createDomain", {"name": ""}, 431, "Invalid value provided for API arg: name"),
    ("createDomain", {"name": "   "}, 431, "Invalid value provided for API arg: name"),
    ("createDomain", {"name": "a\x07b"}, 431, "illegal ASCII non-printable characters for parameter name"),
    ("createDomain", {"name": "a\x00b"}, 431, "illegal ASCII non-printable characters for parameter name"),
    ("createDomain", {"name": "x" * 256}, 431, "greater than maximum length 255"),
    ("createDomain", {"name": "a/b"}, 431, "slash"),
    ("createDomain", {"name": "d", "parentdomainid": NOWHERE}, 431, f"Invalid parameter parentdomainid value={NOWHERE}"),
    ("createDomain", {"name": "d", "parentdomainid": "' or 1=1 --"}, 431, "Invalid parameter parentdomainid"),
    ("createDomain", {"name": "d", "domainid": "not-a-uuid"}, 431, "invalid value not-a-uuid for parameter domainid"),
    ("listUsers", {"page": "1"}, 431, '"pagesize" parameter is required when "page" is specified'),
    ("listUsers", {"pagesize": "1"}, 431, '"page" parameter is required when "pagesize" is specified'),
    ("listUsers", {"page": "1", "pagesize": "501"}, 431, "Page size can't exceed max allowed page size value: 500"),
    ("listUsers", {"page": "0", "pagesize": "5"}, 431, "for parameter page"),
    ("listUsers", {"page": "1", "pagesize": "0"}, 431, "for parameter pagesize"),
    ("listUsers", {"page": "one", "pagesize": "5"}, 431, "invalid value one for parameter page"),
    ("listUsers", {"page": "99999999999999999999", "pagesize": "5"}, 431, "for parameter page"),
    ("listUsers", {"page": "3000000000", "pagesize": "5"}, 431, "for parameter page"),
    ("listUsers", {"id": NOWHERE}, 431, f"Invalid parameter id value={NOWHERE} due to incorrect long value format, or entity"),
    ("listUsers", {"account": "nobody"}, 431, "Unable to find account nobody"),
    ("listEvents", {"startdate": "yesterday"}, 431, "Unable to parse date yesterday for command listEvents"),
    ("listEvents", {"startdate": "2026-02-30"}, 431, "Unable to parse date"),
    ("listEvents", {"startdate": "2026-02-03", "enddate": "2026-02-01"}, 431, "startdate is after enddate"),
    ("createTags", {"resourceids": NOWHERE, "resourcetype": "Project", "tags": "x"}, 430, "tags[0].key=value"),
    ("createTags", {"resourceids": NOWHERE, "resourcetype": "Project"}, 431, "due to missing parameter tags"),
    ("createTags", {"resourceids": NOWHERE, "resourcetype": "Spoon", "tags[0].key": "a"}, 431, "Invalid resource type Spoon"),
    ("createTags", {"resourceids": NOWHERE, "resourcetype": "Project", "tags[0].key": "a", "tags[0].value": "b"}, 431,
     "Invalid parameter resourceids"),
    ("updateConfiguration", {"name": "no.such", "value": "1"}, 431, "Config parameter with name no.such doesn't exist"),
    ("updateConfiguration", {"name": "consoleproxy.session.max", "value": "many"}, 431, "trying to parse the value many"),
    ("updateConfiguration", {"name": "consoleproxy.session.max", "value": "0"}, 431, "at least 1"),
    ("updateConfiguration", {"name": "consoleproxy.restart", "value": "maybe"}, 431, "true or false"),
    ("updateConfiguration", {"name": "systemvm.runtime", "value": "jail"}, 431, "one of: auto, container, vm"),
    ("updateConfiguration", {"name": "router.stats.interval", "value": "1", "domainid": "ROOT"}, 431, "parameter domainid"),
    ("createAccount", {"username": "u", "password": "p", "email": "e", "firstname": "f", "lastname": "l"}, 431, "role"),
    ("queryAsyncJobResult", {"jobid": NOWHERE}, 431, "Invalid parameter jobid"),
    ("updateResourceLimit", {"resourcetype": "99"}, 431, "valid resource type"),
    ("updateResourceLimit", {"resourcetype": "0", "max": "-2", "account": "admin"}, 431, "infinite limit"),
    ("listApis", {"name": "listUnicorns"}, 431, "listUnicorns"),
    ("archiveEvents", {}, 431, "nothing would say which ones"),
    ("generateAlert", {"type": "77", "name": "n", "description": "d"}, 431, "alert type 77"),
]  # fmt: skip


@pytest.mark.parametrize(("command", "given", "status", "text"), CASES, ids=lambda case: str(case)[:60])
async def test_bad_input_is_refused(stage: Stage, command: str, given: dict[str, str], status: int, text: str):
    """Code, text, and no row more than before."""
    before = await stage.admin("listDomains")
    with refusal(status, text):
        await stage.admin(command, **given)
    assert await stage.admin("listDomains") == before


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ("command=%ff%fe", b""),
        ("command=listUsers&name=%ED%A0%80", b""),
        ("", b"command=\xff\xfe"),
        ("&".join(["a=b"] * 20_001), b""),
        ("a=" + "b" * 65_536, b""),
        ("", b"a=" + b"b" * 4_194_304),
    ],
    ids=["not utf-8", "surrogate", "body not utf-8", "too many", "long line", "long body"],
)
async def test_what_cannot_be_read_is_430(stage: Stage, query: str, body: bytes):
    """Before anybody is asked who he is."""
    answer = await send(stage.apps.main, query, method="POST" if body else "GET", body=body)
    assert (answer.status, list(answer.json)) == (430, ["errorresponse"])


async def test_a_long_query_is_read(stage: Stage):
    """Up to 64 KB; what is too long for its parameter is refused by name."""
    given = urlencode(signed({"command": "listUsers", "keyword": "k" * 60_000}, "admin-key", "admin-secret"))
    answer = await send(stage.apps.main, given)
    assert answer.status == 431
    assert len(answer.body) < 1_000


async def test_an_unknown_parameter_is_ignored(stage: Stage):
    """Newer clients send more than is known."""
    assert await stage.admin("listUsers", colour="green", listall=True)


async def test_an_empty_list_parameter_is_none(stage: Stage):
    """Terraform sends `tags=`."""
    assert await stage.admin("listDomains", tags="", details="")


# ---------------------------------------------------------------- values
LINE_ENDS = "-----BEGIN CERTIFICATE-----\r\nMIIB\n-----END CERTIFICATE-----\t"


@pytest.mark.parametrize(
    ("word", "raw", "expected"),
    [
        ("x:boolean", {"x": "TRUE"}, True),
        ("x:boolean", {"x": "yes"}, False),
        ("x:integer", {"x": " 7 "}, 7),
        ("x:long", {"x": "-9223372036854775808"}, -(2**63)),
        ("x:float", {"x": "1.5"}, 1.5),
        ("x:list", {"x": "a, b,,c"}, ("a", "b", "c")),
        ("x:list", {"x": " "}, None),
        ("x:uuid", {"x": "-1"}, "-1"),
        ("x:string", {"x": ""}, ""),
        ("x:string", {"x": LINE_ENDS}, LINE_ENDS),
        ("x:integer", {"x": ""}, None),
        ("x:date", {"x": "2026-01-02"}, 1767312000.0),
        ("x:date", {"x": "2026-01-02 03:04:05"}, 1767323045.0),
        ("x:date", {"x": "2026-01-02T03:04:05Z"}, 1767323045.0),
        ("x:date", {"x": "2026-01-02T05:04:05+0200"}, 1767323045.0),
        ("x:date", {"x": "2026-01-02T05:04:05+02:00"}, 1767323045.0),
        ("x:date", {"x": "2026-01-02T05:04:05 02:00"}, 1767323045.0),
        ("x:map", {"x[0].cpuNumber": "2", "x[0].memory": "512"}, ({"cpuNumber": "2", "memory": "512"},)),
        ("x:map", {"x[1].key": "b", "x[0].key": "a", "x[0].value": "1"}, ({"key": "a", "value": "1"}, {"key": "b"})),
        ("x:map", {"x.a": "1", "x.b.c": "2"}, ({"a": "1", "b.c": "2"},)),
        ("x:map", {"x": ""}, None),
        ("x:map", {"xy[0].a": "1"}, None),
    ],
)
def test_values_by_type(word: str, raw: dict[str, str], expected: object):
    """What a handler finds."""
    command = catalogue.Command("c", "A", "sync", "", "all", "", "", word)
    assert params.parse(command, raw).get("x") == expected


def test_both_shapes_of_a_map_become_pairs():
    """details[0].cpuNumber=2 and tags[0].key=a&tags[0].value=b."""
    assert params.pairs(({"cpuNumber": "2"}, {"memory": "1"})) == {"cpuNumber": "2", "memory": "1"}
    assert params.pairs(({"key": "a", "value": "b"}, {"key": "c"})) == {"a": "b", "c": ""}


def test_a_map_has_a_most():
    """Indexes are not memory to be had for nothing."""
    command = catalogue.Command("c", "A", "sync", "", "all", "", "", "x:map")
    with pytest.raises(Refused):
        params.parse(command, {f"x[{index}].a": "1" for index in range(3_000)})
