"""Two servers on one PostgreSQL: each may die, stand still, or lose the database; what was accepted comes to its end, once."""

import base64
import signal
from collections.abc import Callable
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, build_opener

import pytest

from sysvm.cli.client import Client
from sysvm.cli.files import PASSWORD_FILE
from tests.boot.patience import until
from tests.cluster.ground import Ground, refusal
from tests.cluster.servers import Server, answered
from tests.store.postgres import Postgres

GUESTS = 6


def by_links(ground: Ground) -> tuple[Server, Server]:
    """The server that holds more hosts, and the other one."""
    held = ground.links(ground.client(ground.servers[0]))
    first, second = sorted(ground.servers, key=lambda server: held[server.uuid])[::-1]
    return first, second


def sessions(database: Postgres, server: Server) -> list[str]:
    """The sessions of a server, dead ones that nobody has buried included."""
    rows = database.ask("cloud", f"select id from session where server_uuid = '{server.uuid}' order by started")
    return [row[0] for row in rows]


def turns_of(database: Postgres, session: str) -> int:
    """How many turns a session holds."""
    ((count,),) = database.ask("cloud", f"select count(*) from turn where session = '{session}'")
    return int(count)


def is_caught_at_work(server: Server, database: Postgres, session: str) -> bool:
    """Whether it stands still with turns in its hands; else it has gone on."""
    server.pause()
    if turns_of(database, session):
        return True
    server.go_on()
    return False


def told(server: Server, event: str) -> Callable[[], bool]:
    """Whether the server has logged this since now."""
    before = server.log().count(event)
    return lambda: server.log().count(event) > before


def test_a_users_signed_call_and_login_are_good_at_both_servers(ground: Ground):
    """Keys and sessions are the cloud's, not a server's."""
    one, two = ground.servers
    admin = ground.client(one)
    (role,) = [row for row in admin.rows("listRoles", "role") if row["name"] == "User"]
    made = admin.call("createAccount", username="u", password="long enough pw", firstname="u", lastname="u",
                      email="u@example.org", roleid=role["id"])["account"]  # fmt: skip
    keys = admin.call("registerUserKeys", id=made["user"][0]["id"])["userkeys"]
    for server in (one, two):
        user = Client(server.endpoint, type(ground.keys)(keys["apikey"], keys["secretkey"]))
        assert ["u"] == [row["name"] for row in user.rows("listAccounts", "account")]
    browser = build_opener(HTTPCookieProcessor(CookieJar()))
    form = {"command": "login", "username": "u", "password": "long enough pw", "response": "json"}
    key = browser.open(one.endpoint, urlencode(form).encode()).headers.get_all("Set-Cookie")
    sessionkey = next(cookie.split("=", 1)[1].split(";")[0] for cookie in key if cookie.startswith("sessionkey="))
    for server in (one, two):
        query = urlencode({"command": "listAccounts", "response": "json", "sessionkey": sessionkey})
        with browser.open(f"{server.endpoint}?{query}") as answer:
            assert b'"u"' in answer.read()


def content_type(client: Client, server: Server) -> str:
    """How this server names its JSON, which is a setting."""
    try:
        with build_opener().open(f"{server.endpoint}?command=listZones&response=json") as answer:
            return str(answer.headers["Content-Type"])
    except HTTPError as refused:
        return str(refused.headers["Content-Type"])


def page_size(client: Client) -> int:
    """How many rows a list has when nobody says how many: a setting that each server keeps in memory."""
    return len(client.rows("listConfigurations", "configuration"))


def test_a_setting_that_is_changed_at_one_server_is_in_force_at_the_other(ground: Ground, database: Postgres):
    """Also when the other one was not listening: a database that was restarted has forgotten who listens."""
    one, two = (ground.client(server) for server in ground.servers)
    one.call("updateConfiguration", name="default.page.size", value=7)
    until(lambda: page_size(two) == 7, "seven rows", lambda: None)
    database.stop(signal.SIGINT)
    database.start()
    until(lambda: answered(one, "updateConfiguration", name="default.page.size", value=9), "a change", lambda: None)
    until(lambda: page_size(two) == 9, "nine rows", lambda: None)
    one.call("updateConfiguration", name="default.page.size", value=500)
    until(lambda: page_size(two) > 9, "many rows", lambda: None)


def alerts(client: Client) -> list[str]:
    """What an operator is told about servers."""
    return [row["description"] for row in client.rows("listAlerts", "alert", name="ALERT.MANAGEMENT")]


def test_when_a_server_is_killed_the_other_takes_its_turns_and_hosts(ground: Ground, database: Postgres):
    """Jobs that the dead one has accepted and begun come to their end at the other, each once."""
    victim, survivor = by_links(ground)
    jobs = ground.deploy(ground.client(victim), GUESTS)
    (session,) = sessions(database, victim)
    until(lambda: is_caught_at_work(victim, database, session), "work at the victim", ground.hosts.moved)
    victim.kill()
    assert turns_of(database, session) > 0
    client = ground.client(survivor)
    ground.all_end(client, jobs)
    until(lambda: not sessions(database, victim), "the end of the dead one's session", survivor.log_size)
    until(lambda: ground.links(client) == {survivor.uuid: len(ground.hosts.all)}, "all hosts", survivor.log_size)
    gone = f":{victim.hub_port}"
    until(lambda: any("is gone" in told and gone in told for told in alerts(client)), "an alert", survivor.log_size)
    ground.nothing_is_doubled(client, jobs)
    ground.fences_rose()


def test_a_server_that_stands_still_changes_nothing_when_it_goes_on(ground: Ground, database: Postgres):
    """Its hosts leave it, the other server does its work; when it wakes its fences are old, and it takes a new session."""
    victim, survivor = by_links(ground)
    jobs = ground.deploy(ground.client(victim), GUESTS)
    (session,) = sessions(database, victim)
    until(lambda: turns_of(database, session), "work at the victim", ground.hosts.moved)
    victim.pause()
    client = ground.client(survivor)
    ground.all_end(client, jobs)
    begun = told(victim, "session_begun")
    victim.go_on()
    until(begun, "a new session", victim.log_size)
    assert victim.lives()
    (new,) = sessions(database, victim)
    assert new != session
    more = ground.deploy(ground.client(victim), 2)
    ground.all_end(ground.client(victim), more)
    ground.nothing_is_doubled(client, jobs | more)
    ground.fences_rose()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["fast", "immediate"])
def test_a_database_that_is_restarted_under_jobs_is_a_pause_and_no_more(ground: Ground, database: Postgres, how: signal.Signals):
    """The servers' processes go on, the hosts keep their links, and every job ends, once."""
    pids = [server.pid for server in ground.servers]
    one, two = (ground.client(server) for server in ground.servers)
    jobs = ground.deploy(one, GUESTS // 2) | ground.deploy(two, GUESTS // 2)
    linked = [len(host.links) for host in ground.hosts.all]
    assert ground.unfinished(one, jobs)
    database.stop(how)
    database.start()
    ground.all_end(two, jobs)
    ground.nothing_is_doubled(one, jobs)
    ground.fences_rose()
    assert pids == [server.pid for server in ground.servers if server.lives()]
    assert linked == [len(host.links) for host in ground.hosts.all]


def test_a_database_that_stays_away_is_said_at_once_and_waited_for(ground: Ground, database: Postgres):
    """503 for whoever asks, in the command's own envelope; new sessions when it is back, and the jobs of before go on."""
    clients = [ground.client(server) for server in ground.servers]
    jobs = ground.deploy(clients[0], GUESTS)
    lost = [told(server, "session_lost") for server in ground.servers]
    begun = [told(server, "session_begun") for server in ground.servers]
    database.stop(signal.SIGQUIT)
    for client in clients:
        for command, more in (("listZones", {}), ("queryAsyncJobResult", {"jobid": jobs.get("g1", "")}),
                              ("createSSHKeyPair", {"name": "k"})):  # fmt: skip
            refused = refusal(client, command, **more)
            assert refused is not None and 503 == refused.code and "database" in refused.text
    until(
        lambda: all(happened() for happened in lost),
        "sessions are over",
        lambda: [s.log_size() for s in ground.servers],
    )
    database.start()
    until(lambda: all(happened() for happened in begun), "new sessions", lambda: [s.log_size() for s in ground.servers])
    ground.all_end(clients[1], jobs)
    for server in ground.servers:
        assert any("cut off" in told and str(server.hub_port) in told for told in alerts(clients[0]))
    ground.nothing_is_doubled(clients[0], jobs)
    ground.fences_rose()


def test_servers_that_start_together_before_their_database_make_one_cloud(database: Postgres, tmp_path: Path):
    """They wait for it; one makes the tables and the admin, and only its password is written down."""
    database.execute("create database fresh")
    database.stop(signal.SIGINT)
    servers = [Server(tmp_path / name, database.url("fresh")) for name in ("one", "two")]
    try:
        for server in servers:
            (server.state / "secret.key").write_bytes(base64.b64encode(b"k" * 32))
            (server.state / "secret.key").chmod(0o600)
            server.launch()
        for server in servers:
            until(lambda asked=server: "database_awaited" in asked.log(), "a server that waits", server.log_size)  # type: ignore[misc]
        database.start()
        for server in servers:
            server.wait()
        assert 1 == sum((server.state / PASSWORD_FILE).exists() for server in servers)
        assert [(1,)] == database.ask("fresh", "select count(*) from cloud")
        assert [0, 0] == [server.end() for server in servers]
        assert [(0,)] == database.ask("fresh", "select count(*) from session")
    finally:
        for server in servers:
            server.kill()
        if not database.is_running:
            database.start()
