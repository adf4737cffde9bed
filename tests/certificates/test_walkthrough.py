"""docs/console-certificate.md, line by line, with a private authority in place of the reader's."""

import asyncio
import json
import re
import ssl
import subprocess
import time
from pathlib import Path

import pytest

from sysvm.agent.roles.serving.tls import server_context
from sysvm.store.queries import certificates
from tests.api.stage import Stage
from tests.certificates.authority import RSA, SUFFIX, make

PAGE = Path(__file__).resolve().parents[2] / "docs" / "console-certificate.md"
# Stands for `cs`: one line of JSON for each call, with the arguments as the shell made them.
CS = """#!/usr/bin/env python3
import json, sys
print(json.dumps([sys.argv[1], dict(word.split("=", 1) for word in sys.argv[2:])]), file=open("called", "a"))
"""


def blocks() -> list[str]:
    """The page's shell lines, in their order."""
    return re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A folder with the authority's files and a `cs`."""
    root = make("root", days=36500)
    middle = make("middle", root, key=RSA, days=36500)
    (tmp_path / "root.crt").write_text(root.pem)
    (tmp_path / "intermediate.crt").write_text(middle.pem)
    (tmp_path / "intermediate.key").write_text(middle.key_pem)
    (tmp_path / "cs").write_text(CS)
    (tmp_path / "cs").chmod(0o755)
    return tmp_path


async def test_whoever_follows_the_page_has_a_console_with_a_certificate_of_his_own(stage: Stage, desk: Path):
    stage.clock.advance(time.time() - stage.clock.now())  # openssl knows no clock but the machine's
    for block in blocks():
        follow(block, desk)
    calls = [json.loads(line) for line in (desk / "called").read_text().splitlines()]
    for command, given in calls:
        said = (await stage.admin.job(command, **given))["message"]
    assert "live for the next connection" in said
    (row,) = await stage.admin("listConfigurations", name="consoleproxy.url.domain")
    assert row["value"] == f"*.{SUFFIX}"
    found = await stage.store.read(lambda tx: certificates.served(tx, stage.vault))
    assert found is not None
    assert await greeted(server_context(found), (desk / "root.crt").read_text()) == "hello"


def follow(block: str, desk: Path) -> None:
    """What the reader does."""
    words = ("bash", "-eu", "-c", f"PATH=$PWD:$PATH\n{block}")
    done = subprocess.run(words, cwd=desk, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"


async def greeted(server: ssl.SSLContext, root: str) -> str:
    """What a browser hears that trusts `root` and opens a proxy by its name."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()

    listening = await asyncio.start_server(greet, "127.0.0.1", 0, ssl=server)
    port = listening.sockets[0].getsockname()[1]
    browser = ssl.create_default_context(cadata=root)
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=browser, server_hostname=f"203-0-113-10.{SUFFIX}")
        said = (await reader.read()).decode()
        writer.close()
        return said
    finally:
        listening.close()
