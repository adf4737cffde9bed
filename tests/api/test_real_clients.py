"""Real clients over real HTTP: `cs`, libcloud, and a log-in as CloudMonkey does it."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import requests
import uvicorn
from cs import CloudStack, CloudStackApiException
from libcloud.compute.providers import get_driver
from libcloud.compute.types import Provider

from tests.api.stage import PASSWORD, Stage


@pytest.fixture
async def served(stage: Stage) -> AsyncIterator[str]:
    """The API on a loopback port, as the server runs it."""
    config = uvicorn.Config(stage.apps.main, host="127.0.0.1", port=0, http="httptools", lifespan="off", log_level="error")
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(server.main_loop())
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}/client/api"
        server.should_exit = True
    await server.shutdown()


async def test_cs_lists_pages_makes_and_waits_for_jobs(stage: Stage, served: str):
    """The client that drives every command."""

    def drive() -> tuple[object, ...]:
        cs = CloudStack(endpoint=served, key="admin-key", secret="admin-secret", poll_interval=0.01)
        domain = cs.createDomain(name="tilde~ star* [x] größe +=&")["domain"]
        for name in "abc":
            cs.createDomain(name=name, parentdomainid=domain["id"])
        listed = cs.listDomains(fetch_list=True, page_size=2)
        project = cs.createProject(name="p", displaytext="two words", fetch_result=True)["project"]
        cs.createTags(resourceids=[project["id"]], resourcetype="Project", tags={"key": "k", "value": "v~"}, fetch_result=True)
        tagged = cs.listProjects(tags={"key": "k", "value": "v~"})["project"]
        with pytest.raises(CloudStackApiException) as caught:
            cs.listUsers(id="nothing")
        post = CloudStack(endpoint=served, key="admin-key", secret="admin-secret", method="post")
        version = post.listCapabilities()["capability"]["cloudstackversion"]
        return domain["name"], len(listed), tagged[0]["id"] == project["id"], caught.value.error["errorcode"], version

    found = await asyncio.to_thread(drive)
    assert found == ("tilde~ star* [x] größe +=&", 5, True, 431, "4.20.0.0")


async def test_cs_sees_an_empty_list_and_a_wrong_secret(stage: Stage, served: str):
    """{} and 401."""

    def drive() -> tuple[object, int]:
        listed = CloudStack(endpoint=served, key="admin-key", secret="admin-secret").listProjects(fetch_list=True)
        with pytest.raises(CloudStackApiException) as caught:
            CloudStack(endpoint=served, key="admin-key", secret="wrong").listUsers()
        return listed, caught.value.error["errorcode"]

    assert await asyncio.to_thread(drive) == ([], 401)


async def test_libcloud_signs_and_reads(stage: Stage, served: str):
    """Its own way of sorting and encoding."""
    zone = {"dns1": "9.9.9.9", "internaldns1": "10.0.0.1", "name": "north zone", "networktype": "Advanced"}
    await stage.admin("createZone", **zone)
    port = int(served.split(":")[2].split("/")[0])

    def drive() -> list[str]:
        driver = get_driver(Provider.CLOUDSTACK)(
            "admin-key", "admin-secret", secure=False, host="127.0.0.1", port=port, path="/client/api"
        )
        return [location.name for location in driver.list_locations()]

    assert await asyncio.to_thread(drive) == ["north zone"]


async def test_a_login_as_cloudmonkey_does_it(stage: Stage, served: str):
    """POST, the session key from the cookie, then listApis to learn the commands."""

    def drive() -> tuple[int, set[str], int]:
        session = requests.Session()
        form = {"command": "login", "username": "admin", "password": PASSWORD, "domain": "/", "response": "json"}
        answer = session.post(served, data=form, timeout=30)
        key = session.cookies["sessionkey"]
        query = {"command": "listApis", "listall": "true", "response": "json", "sessionkey": key}
        apis = session.get(served, params=query, timeout=30).json()["listapisresponse"]
        session.get(served, params={"command": "logout", "response": "json", "sessionkey": key}, timeout=30)
        after = session.get(served, params=query, timeout=30)
        return answer.json()["loginresponse"]["timeout"], {row["name"] for row in apis["api"]}, after.status_code

    timeout, names, after = await asyncio.to_thread(drive)
    assert (timeout, after) == (1800, 401)
    assert {"listZones", "createAccount", "queryAsyncJobResult"} <= names


async def test_a_request_line_of_64_kilobytes_is_read(stage: Stage, served: str):
    """Certificates and user data come in addresses, too."""

    def drive() -> int:
        return requests.get(
            served, params={"command": "listUsers", "response": "json", "x": "y" * 60_000}, timeout=30
        ).status_code

    assert await asyncio.to_thread(drive) == 401
