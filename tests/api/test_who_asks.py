"""Signed requests, sessions and the integration port: who is let in, and what the others are told."""

import base64
import hashlib
import hmac
from urllib.parse import quote, quote_plus, urlencode

import pytest

from sysvm.api import signature
from tests.api.stage import PASSWORD, Asker, Stage, refusal, send, signed

UNVERIFIED = "unable to verify user credentials and/or request signature"


def sign(text: str, secret: str = "admin-secret") -> str:
    return base64.b64encode(hmac.new(secret.encode(), text.encode(), hashlib.sha1).digest()).decode()


def java(value: str) -> str:
    return quote_plus(value, safe="*-._").replace("~", "%7E").replace("+", "%20")


CLIENTS = {
    "java": lambda p: "&".join(f"{n}={java(p[n])}" for n in sorted(p)).lower(),
    "cs": lambda p: "&".join(f"{n}={quote(p[n], safe='*')}" for n in sorted(p, key=str.lower)).lower(),
    "libcloud": lambda p: "&".join(f"{n.lower()}={quote(p[n], safe='*-._~[]').lower()}" for n in sorted(p, key=str.lower)),
    "go": lambda p: "&".join(f"{n}={quote_plus(p[n]).replace('+', '%20').replace('%7E', '~')}" for n in sorted(p)).lower(),
}
VALUES = ["plain", "two words", "a+b/c=", "tilde~star*", "[0] & more", "größe", "日本", "%25"]


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("value", VALUES)
def test_what_real_clients_sign_is_accepted(client: str, value: str):
    """Each client's way of encoding and sorting, over values that trip encoders."""
    params = {"command": "listZones", "apiKey": "K", "response": "json", "keyword": value, "tags[0].key": value}
    text = CLIENTS[client](params)
    assert signature.verify({**params, "signature": "x"}, sign(text), "admin-secret")


@pytest.mark.parametrize("change", [{"keyword": "other"}, {"command": "deleteZone"}, {"extra": "1"}])
def test_a_changed_request_is_not_what_was_signed(change: dict[str, str]):
    """Changing or adding any parameter spoils the signature."""
    params = {"command": "listZones", "apiKey": "K", "keyword": "a"}
    assert not signature.verify({**params, **change}, sign(CLIENTS["java"](params)), "admin-secret")


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"command": "listZones"},
        {"command": "listZones", "apiKey": "admin-key"},
        {"command": "listZones", "apiKey": "nobody", "signature": "eA=="},
        {"command": "listZones", "apiKey": "admin-key", "signature": "not base64!"},
        {"command": "listZones", "apiKey": "admin-key", "signature": "eA=="},
        {"command": "noSuchCommand", "apiKey": "admin-key", "signature": "eA=="},
    ],
    ids=str,
)
async def test_whoever_is_not_known_gets_one_and_the_same_answer(stage: Stage, params: dict[str, str]):
    """401, whatever is wrong, and nothing about which commands exist."""
    answer = await send(stage.apps.main, urlencode({**params, "response": "json"}))
    ((_, body),) = answer.json.items()
    assert (answer.status, body) == (401, {"uuidList": [], "errorcode": 401, "errortext": UNVERIFIED})
    assert answer.header("x-description") == UNVERIFIED


async def test_a_known_command_answers_its_rejection_in_its_own_envelope(stage: Stage):
    """errorresponse is only for what is not known."""
    known = await send(stage.apps.main, "command=listUsers&response=json")
    unknown = await send(stage.apps.main, "command=listUnicorns&response=json")
    assert (list(known.json), list(unknown.json)) == (["listusersresponse"], ["errorresponse"])


async def test_an_unknown_command_of_a_known_caller_is_432(stage: Stage):
    """Also one whose case is wrong: commands are matched exactly."""
    for name in ("listUnicorns", "listusers"):
        answer = await stage.admin.ask(name)
        assert (answer.status, list(answer.json)) == (432, ["errorresponse"])


@pytest.mark.parametrize(
    ("expires", "status"),
    [
        ("2023-11-14T22:13:21Z", 200),
        ("2023-11-14T22:13:21+0000", 200),
        ("2023-11-15T00:13:21+0200", 200),
        ("2023-11-14T22:13:19Z", 401),
        ("2023-11-14T22:13:19+0000", 401),
        ("soon", 401),
        (None, 401),
    ],
)
async def test_version_3_needs_an_expiry_that_has_not_passed(stage: Stage, expires: str | None, status: int):
    """The clock of the test stands at 22:13:20."""
    params = {"command": "listUsers", "signatureVersion": "3", **({"expires": expires} if expires else {})}
    answer = await send(stage.apps.main, urlencode(signed(params, "admin-key", "admin-secret")))
    assert status == answer.status


async def test_names_are_matched_whatever_their_case_and_a_form_is_as_good_as_a_query(stage: Stage):
    """apikey, apiKey; POST with some parameters in the body and some in the query."""
    params = signed({"command": "listUsers", "listAll": "true"}, "admin-key", "admin-secret")
    body = {name: params[name] for name in ("command", "listAll")}
    query = {name: value for name, value in params.items() if name not in body}
    answer = await send(stage.apps.main, urlencode(query), method="POST", body=urlencode(body).encode())
    assert answer.json["listusersresponse"]["count"] == 2


async def test_the_query_wins_over_the_body_and_the_last_of_two_values_counts(stage: Stage):
    """What was signed is what is used."""
    params = signed({"command": "listUsers", "username": "admin"}, "admin-key", "admin-secret")
    query = "username=nobody&" + urlencode(params)
    answer = await send(stage.apps.main, query, method="POST", body=b"username=system&command=deleteUser")
    assert [user["username"] for user in answer.json["listusersresponse"]["user"]] == ["admin"]


async def test_a_disabled_user_and_a_disabled_account_are_not_let_in(stage: Stage):
    """At once, and let in again when enabled."""
    user = await stage.user()
    (row,) = await stage.admin("listUsers", id=user.user_id)
    for off, on, id_ in (
        ("disableUser", "enableUser", user.user_id),
        ("disableAccount", "enableAccount", row["accountid"]),
    ):
        await stage.admin(off, id=id_, lock=False if "Account" in off else None)
        with refusal(401, UNVERIFIED):
            await user("listUsers")
        await stage.admin(on, id=id_)
        assert [one["username"] for one in await user("listUsers")] == ["user"]


# ---------------------------------------------------------------- sessions
async def login(stage: Stage, username: str = "admin", password: str = PASSWORD, domain: str = "/", **more: str):
    params = {
        "command": "login",
        "username": username,
        "password": password,
        "domain": domain,
        "response": "json",
        **more,
    }
    return await send(stage.apps.main, method="POST", body=urlencode(params).encode())


def in_session(cookies: dict[str, str]) -> dict[str, str]:
    return {"cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}


async def test_a_login_gives_both_cookies_and_a_flat_answer(stage: Stage):
    """As cmk and the web UI read it."""
    answer = await login(stage)
    body = answer.json["loginresponse"]
    assert {"JSESSIONID", "sessionkey"} == set(answer.cookies)
    assert (answer.cookies["sessionkey"], 1800, "1", "admin", "false") == (
        body["sessionkey"], body["timeout"], body["type"], body["username"], body["registered"]
    )  # fmt: skip
    assert all("HttpOnly" in value and "SameSite=Lax" in value for name, value in answer.headers if name == "set-cookie")
    query = urlencode({"command": "listUsers", "response": "json", "sessionkey": body["sessionkey"]})
    listed = await send(stage.apps.main, query, headers=in_session(answer.cookies))
    assert listed.status == 200


async def test_a_login_over_get_is_refused(stage: Stage):
    """A password in an address ends in logs."""
    answer = await send(stage.apps.main, f"command=login&username=admin&password={quote(PASSWORD)}&response=json")
    assert (answer.status, next(iter(answer.json))) == (405, "loginresponse")


@pytest.mark.parametrize(
    "wrong",
    [
        {"username": "nobody"},
        {"password": "wrong"},
        {"domain": "/elsewhere"},
        {"username": "system"},
        {"domainId": "77"},
    ],
    ids=str,
)
async def test_a_failed_login_says_531_whatever_is_wrong(stage: Stage, wrong: dict[str, str]):
    """No cserrorcode, no hint."""
    answer = await login(stage, **wrong)
    body = answer.json["loginresponse"]
    assert (answer.status, body["errorcode"], body["uuidList"]) == (531, 531, [])
    assert "set-cookie" not in dict(answer.headers)


@pytest.mark.parametrize(
    ("domain", "fits"),
    [("", True), ("/", True), ("ROOT", True), ("/ROOT/", True), ("east", False), ("/ROOT/east", False)],
)
async def test_slashes_around_a_domain_do_not_matter(stage: Stage, domain: str, fits: bool):
    """Nothing means ROOT."""
    await stage.admin("createDomain", name="east")
    assert fits == ((await login(stage, domain=domain)).status == 200)


SETTING = "api.sessionkey.check.locations"


@pytest.mark.parametrize(
    ("where", "by_param", "by_cookie", "status"),
    [
        ("CookieAndParameter", True, True, 200),
        ("CookieAndParameter", True, False, 401),
        ("CookieAndParameter", False, True, 401),
        ("CookieOrParameter", True, False, 200),
        ("CookieOrParameter", False, True, 200),
        ("CookieOrParameter", False, False, 401),
        ("ParameterOnly", True, False, 200),
        ("ParameterOnly", False, True, 401),
    ],
)
async def test_where_the_session_key_must_be(stage: Stage, where: str, by_param: bool, by_cookie: bool, status: int):
    """A session whose key does not fit is ended."""
    await stage.admin("updateConfiguration", name=SETTING, value=where)
    cookies = (await login(stage)).cookies
    key = cookies.pop("sessionkey")
    query = "command=listUsers&response=json" + (f"&sessionkey={quote(key)}" if by_param else "")
    answer = await send(stage.apps.main, query, headers=in_session({**cookies, **({"sessionkey": key} if by_cookie else {})}))
    assert status == answer.status
    if status == 401:
        full = f"command=listUsers&response=json&sessionkey={quote(key)}"
        again = await send(stage.apps.main, full, headers=in_session({**cookies, "sessionkey": key}))
        assert again.status == 401


async def test_a_session_ends_after_half_an_hour_without_a_request(stage: Stage):
    """Requests prolong it."""
    cookies = (await login(stage)).cookies
    query = f"command=listUsers&response=json&sessionkey={quote(cookies['sessionkey'])}"
    for minutes, status in ((20, 200), (20, 200), (31, 401)):
        stage.clock.advance(minutes * 60)
        assert status == (await send(stage.apps.main, query, headers=in_session(cookies))).status


async def test_a_logout_ends_the_session(stage: Stage):
    """Where there is none it says the same: the web UI logs out before each log-in."""
    answer = await login(stage)
    cookies, key = answer.cookies, quote(answer.json["loginresponse"]["sessionkey"])
    for headers in (in_session(cookies), in_session(cookies), {}):
        said = await send(stage.apps.main, "command=logout&response=json", headers=headers)
        assert (200, {"logoutresponse": {"description": "success"}}) == (said.status, said.json)
    asked = await send(stage.apps.main, f"command=listUsers&response=json&sessionkey={key}", headers=in_session(cookies))
    assert 401 == asked.status


@pytest.mark.parametrize(
    ("timezone", "offset"), [("", "0.0"), ("Asia/Kolkata", "5.5"), ("America/New_York", "-5.0"), ("Nowhere/Land", "0.0")]
)
async def test_a_log_in_tells_the_offset_of_the_time_zone(stage: Stage, timezone: str, offset: str):
    """The web UI keeps it, and cannot start without one."""
    if timezone:
        (admin,) = await stage.admin("listUsers", username="admin")
        await stage.admin("updateUser", id=admin["id"], timezone=timezone)
    assert offset == (await login(stage)).json["loginresponse"]["timezoneoffset"]


async def test_there_is_no_ldap(stage: Stage):
    """The web UI asks everybody's cloud when it starts, and stops where there is no answer."""
    user = await stage.user()
    answer = await user.ask("listLdapConfigurations")
    assert (200, {"ldapconfigurationresponse": {}}) == (answer.status, answer.json)


async def test_a_changed_password_ends_the_sessions_of_its_user(stage: Stage):
    """Whoever knew the old one is out."""
    cookies = (await login(stage)).cookies
    await stage.admin("updateUser", id=stage.admin.user_id, password="another long password", currentpassword=PASSWORD)
    query = f"command=listUsers&response=json&sessionkey={quote(cookies['sessionkey'])}"
    assert (await send(stage.apps.main, query, headers=in_session(cookies))).status == 401
    assert ((await login(stage)).status, (await login(stage, password="another long password")).status) == (531, 200)


async def test_an_unknown_command_in_a_session_is_432_and_not_401(stage: Stage):
    """cmk would log in again on 401."""
    cookies = (await login(stage)).cookies
    query = f"command=listUnicorns&response=json&sessionkey={quote(cookies['sessionkey'])}"
    assert (await send(stage.apps.main, query, headers=in_session(cookies))).status == 432


# ---------------------------------------------------------------- the integration port
async def test_the_integration_port_asks_nobody_and_takes_internal_ids(stage: Stage):
    """Any path; the caller is the system user."""
    answer = await send(stage.apps.integration, "command=listUsers&response=json&id=2", path="/whatever")
    assert [user["username"] for user in answer.json["listusersresponse"]["user"]] == ["admin"]
    with refusal(431, "Invalid parameter id value=2"):
        await stage.admin("listUsers", id=2)


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost:8096", 200), ("127.0.0.1", 200), ("[::1]:8096", 200), ("evil.example.org", 403), ("localhost.evil.org", 403),
     ("", 403)],
)  # fmt: skip
async def test_the_integration_port_answers_to_loopback_names_only(stage: Stage, host: str, status: int):
    """A page in a browser must not reach it by a name that resolves to loopback."""
    answer = await send(stage.apps.integration, "command=listUsers&response=json", headers={"host": host})
    assert status == answer.status


async def test_prometheus_reads_the_integration_port_and_no_other(stage: Stage):
    """The other one has a path of its own, and asks who it is."""
    assert b"# TYPE sysvm_machines gauge" in (await send(stage.apps.integration, path="/metrics")).body
    assert (await send(stage.apps.main, path="/metrics")).status == 404


async def test_keys_work_only_as_a_pair_of_their_user(stage: Stage):
    """One user's key with another's secret is nobody."""
    one, two = await stage.user("one"), await stage.user("two")
    with refusal(401):
        await Asker(stage.apps.main, one.key, two.secret)("listUsers")
    new = await one("registerUserKeys", id=one.user_id)
    with refusal(401):
        await one("listUsers")
    assert await Asker(stage.apps.main, new["apikey"], new["secretkey"])("listUsers")


async def test_secret_keys_are_not_in_the_database_in_clear(stage: Stage):
    """Whoever reads the file cannot sign."""
    user = await stage.user()
    dump = "\n".join(stage.store._writing.connection.driver_connection.iterdump())
    assert (user.key in dump, user.secret in dump) == (True, False)
