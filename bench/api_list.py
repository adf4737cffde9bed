"""CPU of the server per signed `listRouters` of 20 rows, against a bare ASGI handler that does the least.

    python -m bench.api_list

The bare handler gives an answer of the same size from the same database: it checks the same signature, reads the same 20
rows of machines whole (61 columns) and by a second statement their 60 NICs with addresses, makes a dict of each, and encodes
them with a text of spaces that brings the answer to the length of ours. It joins no names, computes no state, knows no
permissions, no visibility, no pages. Both run under uvicorn in a process of their own; requests come over kept-alive
connections from this process. CPU is what the kernel counts for the serving process; neighbours on the machine still cost
it caches, so the two take turns in short blocks, and the medians count.
"""

import asyncio
import base64
import gc
import hashlib
import hmac
import http.client
import json
import socket
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec
import uvicorn
import uvloop

from bench.measure import alternating, cpu_s
from sysvm.api import signature
from sysvm.api.app import make_app
from sysvm.api.http import decode_form
from sysvm.api.passwords import Passwords
from sysvm.basics.clock import SystemClock
from sysvm.basics.ids import SystemIds
from sysvm.store import schema, tables
from sysvm.store.secrets import Vault
from sysvm.store.seed import ADMIN_ACCOUNT, sow
from sysvm.store.store import SqliteStore, Tx

ROUTERS = 20
WARM_UP = 100
BLOCKS, BLOCK = 60, 25
KEY, SECRET = "key", "secret"
VAULT = Vault(b"b" * 32)


# ---------------------------------------------------------------- the cloud
def _fill(tx: Tx) -> None:
    """A zone, a host, 20 networks with a router each, three NICs a router."""
    ids = SystemIds()
    sow(tx, ids, VAULT, version="bench", admin_password_hash="!")
    tx.update(tables.user, ADMIN_ACCOUNT, api_key=KEY, secret_key=VAULT.seal(SECRET))
    now = {"created": tx.now}
    owner = {"account_id": 2, "domain_id": 1, "domain_path": "/1/"}
    zone = tx.insert(tables.zone, uuid=ids.uuid(), name="z", dns1="9.9.9.9", **now)
    pod = tx.insert(tables.pod, uuid=ids.uuid(), zone_id=zone, name="p", **now)
    cluster = tx.insert(tables.cluster, uuid=ids.uuid(), zone_id=zone, pod_id=pod, name="c", hypervisor="KVM", **now)
    place = {"zone_id": zone, "pod_id": pod, "cluster_id": cluster}
    host = tx.insert(tables.host, uuid=ids.uuid(), name="h", hypervisor="KVM", state="Up", **place, **now)
    small = tx.insert(tables.service_offering, uuid=ids.uuid(), name="small", is_system=True, **now)
    offering = tx.insert(tables.network_offering, uuid=ids.uuid(), name="isolated", **now)
    for at in range(ROUTERS):
        _router(tx, ids, at, {"zone_id": zone, **owner, **now}, host, small, offering)


def _router(tx: Tx, ids: SystemIds, at: int, common: dict[str, object], host: int, small: int, offering: int) -> None:
    network = tx.insert(tables.network, uuid=ids.uuid(), name=f"n{at}", offering_id=offering, state="Implemented",
                        isolation="vxlan", tag=5000 + at, **common)  # fmt: skip
    machine = tx.insert(tables.machine, uuid=ids.uuid(), name=f"r-{at}-VM", kind="router", host_id=host,
                        service_offering_id=small, network_id=network, power="running", agent_up=True,
                        role="VIRTUAL_ROUTER", template_version="1.0.0", document_live="x", **common)  # fmt: skip
    for device, traffic in enumerate(("guest", "control", "public")):
        nic = tx.insert(tables.nic, uuid=ids.uuid(), machine_id=machine, traffic=traffic, device=device,
                        network_id=network if traffic == "guest" else None, mac=f"06:00:00:00:{at:02x}:{device:02x}",
                        netmask="255.255.255.0", created=tx.now)  # fmt: skip
        tx.insert(tables.nic_address, uuid=ids.uuid(), nic_id=nic, created=tx.now,
                  network_id=network if traffic == "guest" else None,
                  address=tables.pack_address(f"10.{device}.0.{at + 1}"))  # fmt: skip


async def _prepare(path: Path) -> None:
    store = SqliteStore(path, SystemClock())
    await schema.ensure(store)
    await store.run(_fill)
    await store.close()


# ---------------------------------------------------------------- the two servers
NICS = """select n.id, n.uuid, n.machine_id, n.network_id, n.traffic, n.device, n.mac, n.gateway, n.gateway6, n.netmask,
    n.is_default, n.mtu, a.uuid as address_uuid, hex(a.address) as address
    from nic n left join nic_address a on a.nic_id = n.id and a.removed is null
    where n.removed is null and n.machine_id in ({ids}) order by n.machine_id, n.device"""


def _bare(path: Path, size: int):
    database = sqlite3.connect(path)
    encode = msgspec.json.Encoder().encode

    def read(text: str) -> list[dict[str, Any]]:
        found = database.execute(text)
        names = [column[0] for column in found.description]
        return [dict(zip(names, row)) for row in found.fetchall()]  # noqa: B905 - the least

    columns = ", ".join(column.name for column in tables.machine.columns)
    machines = f"select {columns} from machine where kind = 'router' and removed is null order by id limit 500"

    def answer() -> bytes:
        rows = {row["id"]: row for row in read(machines)}
        for row in rows.values():
            row["nic"] = []
        for nic in read(NICS.format(ids=",".join(map(str, rows)))):
            rows[nic["machine_id"]]["nic"].append(nic)
        content = {"count": len(rows), "router": list(rows.values())}
        return encode({"listroutersresponse": {**content, "rest": padding}})

    padding = ""
    padding = " " * (size - len(answer()))

    async def app(scope, _receive, send):
        params = decode_form(scope["query_string"])
        (secret,) = database.execute("select secret_key from user where api_key = ?", (params["apiKey"],)).fetchone()
        good = signature.verify(params, params["signature"], VAULT.open(secret))
        body = answer() if good else b"{}"
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


async def _size_of_ours(app) -> int:
    """How many bytes our answer has."""
    sent = []

    async def send(message) -> None:
        sent.append(message)

    path, _, query = _request().partition("?")
    await app({"type": "http", "method": "GET", "path": path, "query_string": query.encode(), "headers": []}, None, send)
    return len(sent[1]["body"])


def serve(kind: str, path: Path) -> None:
    """The child: serves on a free loopback port, whose number it prints."""
    listening = socket.create_server(("127.0.0.1", 0))
    print(listening.getsockname()[1], flush=True)

    async def run() -> None:
        store = SqliteStore(path, SystemClock())
        app = make_app(store, SystemIds(), VAULT, Passwords())
        if kind == "bare":
            app = _bare(path, await _size_of_ours(app))
        gc.freeze()  # as the server does when it stands
        config = uvicorn.Config(app, http="httptools", lifespan="off", log_level="error", access_log=False,
                                timeout_keep_alive=600)  # fmt: skip
        await uvicorn.Server(config).serve([listening])

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


# ---------------------------------------------------------------- the measurement
def _request() -> str:
    params = {"command": "listRouters", "listall": "true", "response": "json", "apiKey": KEY, "zone": "x~y"}
    text = next(signature.signed_texts(params))
    digest = hmac.new(SECRET.encode(), text, hashlib.sha1).digest()
    return "/client/api?" + urlencode({**params, "signature": base64.b64encode(digest).decode()})


class Serving:
    """A server of one kind in a process of its own, asked over one kept-alive connection."""

    def __init__(self, kind: str, path: Path) -> None:
        command = [sys.executable, "-m", "bench.api_list", "serve", kind, str(path)]
        self._child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._target = _request()

    def __enter__(self) -> "Serving":
        assert self._child.stdout is not None
        port = int(self._child.stdout.readline())
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.cpu_us(WARM_UP)
        return self

    def __exit__(self, *_error: object) -> None:
        self._child.terminate()
        self._child.wait(10)

    def cpu_us(self, requests: int) -> float:
        """Microseconds of its CPU per request."""
        began = cpu_s(self._child.pid)
        for _ in range(requests):
            body = self._ask()
        spent = cpu_s(self._child.pid) - began
        assert len(json.loads(body)["listroutersresponse"]["router"]) == ROUTERS
        return spent / requests * 1e6

    def _ask(self) -> bytes:
        self._connection.request("GET", self._target)
        return self._connection.getresponse().read()


def measure(blocks: int) -> tuple[float, float]:
    """(microseconds of CPU per request of ours, of the bare one): medians of blocks in which the two take turns."""
    with tempfile.TemporaryDirectory(prefix="sysvm-bench-") as folder:
        path = Path(folder) / "state.db"
        asyncio.run(_prepare(path))
        with Serving("sysvm", path) as own, Serving("bare", path) as bare:
            own_us, bare_us = alternating(blocks, lambda: own.cpu_us(BLOCK), lambda: bare.cpu_us(BLOCK))
    return own_us, bare_us


def main() -> None:
    """As a line of JSON."""
    own, bare = measure(BLOCKS)
    result = {"api.cpu_us_per_list": round(own), "bare": round(bare), "ratio": round(own / bare, 2)}
    print(json.dumps(result))


if __name__ == "__main__":
    serve(sys.argv[2], Path(sys.argv[3])) if sys.argv[1:2] == ["serve"] else main()
