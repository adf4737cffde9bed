"""The management server: opens the state, takes a session, and runs API, hub and orchestrator until told to stop.

On SQLite the lock of the state folder proves that the predecessor is dead: its turns and links are ours at once. On
PostgreSQL several servers run side by side; one that cannot prolong its session stops working under it and takes another
one (orchestrator/session.py). A server that is started before its database waits for it for START_S.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import uvicorn
import uvloop

import sysvm
from sysvm.api.app import Apps, make_apps
from sysvm.api.passwords import Passwords
from sysvm.basics import collector
from sysvm.basics.clock import SystemClock
from sysvm.basics.errors import DatabaseAway, Refused, Why, leaves
from sysvm.basics.ids import SystemIds
from sysvm.basics.limits import raise_open_files
from sysvm.basics.log import configure, get_logger
from sysvm.basics.tasks import Tasks
from sysvm.ca.authority import Authority
from sysvm.cli.files import LOGIN_KEY_FILE, PASSWORD_FILE, READY_FILE
from sysvm.cli.simulated import Earth, SimulatedHosts
from sysvm.hosts.layout import Layout
from sysvm.hub.links import Links
from sysvm.hub.server import Hub, Identity, server_context
from sysvm.orchestrator.context import Context
from sysvm.orchestrator.names import NameServer
from sysvm.orchestrator.notices import Notices
from sysvm.orchestrator.session import Sessions
from sysvm.store import schema, seed
from sysvm.store.queries import keys, sessions, settings, turns
from sysvm.store.secrets import Vault, WrongKey, open_vault
from sysvm.store.store import PostgresStore, SqliteStore, Store, Tx, lock_state_folder

SERVER_CERTIFICATE_S = 365 * 24 * 3600.0
START_S, PAUSE_S = 60.0, 1.0
BACKLOG = 2048
OPEN_FILES = 65_536  # one for each host's link, and for each client

log = get_logger()


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """How a server is started. `database` empty: SQLite in the state folder."""

    state: Path
    listen: str = "127.0.0.1:8080"
    hub: str = "127.0.0.1:8250"
    database: str = ""
    names: tuple[str, ...] = ()  # addresses and names that hosts reach the hub by, besides `hub`'s
    ui: Path | None = None  # a built CloudStack UI


def split(address: str) -> tuple[str, int]:
    """Host and port of "127.0.0.1:8080" or "[::1]:8080". Raises Refused."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit() or not 0 <= int(port) < 65536:
        raise Refused(f"{address!r} is not of the form ADDRESS:PORT")
    return host.strip("[]"), int(port)


def run_server(config: ServerConfig) -> None:
    """Runs until SIGTERM or SIGINT. Raises Refused."""
    configure()
    raise_open_files(OPEN_FILES)
    why = ""
    try:
        uvloop.run(serve(config))
    except* WrongKey as wrong:
        why = f"{next(leaves(wrong))}; {config.state} needs the secret.key of this cloud"
    if why:
        raise Refused(why)


async def serve(config: ServerConfig) -> None:
    """The whole server."""
    config.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        lock = lock_state_folder(config.state) if not config.database else None
    except BlockingIOError:
        raise Refused(f"another server runs on {config.state}", Why.IN_USE) from None
    vault = open_vault(config.state)
    passwords = Passwords()
    async with _store(config) as store, Tasks() as tasks:
        with schema.alone(store):
            await _first_start(config, store, vault, passwords)
            context = await _begin(config, store, vault)
        apps = make_apps(store, context.ids, vault, passwords, ui=config.ui)
        ours = await _start(config, context, apps, tasks)
        (config.state / READY_FILE).write_text(f"{os.getpid()}\n")
        collector.settle()  # a document of a thousand rules shall not cost a look through all that stands
        log.info("server_started", api=config.listen, hub=config.hub, session=context.session)
        await _told_to_stop()
        tasks.stop()
        last = ours.context.session
        with contextlib.suppress(DatabaseAway):  # then it ends by itself
            await store.run(lambda tx: turns.close_session(tx, last))
    passwords.close()
    if lock is not None:
        os.close(lock)
    log.info("server_stopped")


@asynccontextmanager
async def _store(config: ServerConfig) -> AsyncIterator[Store]:
    clock = SystemClock()
    store: Store
    if config.database:
        store = PostgresStore(config.database, clock)
    else:
        store = SqliteStore(config.state / "sysvm.db", clock)
    try:
        await _wait_for(store, clock)
        await schema.ensure(store)
        yield store
    finally:
        await store.close()


async def _wait_for(store: Store, clock: SystemClock) -> None:
    """A machine that boots may start us before its database. Raises Refused."""
    until = clock.now() + START_S
    while True:
        try:
            return await store.read(lambda tx: None)
        except DatabaseAway as away:
            if clock.now() > until:
                raise Refused(str(away), Why.UNAVAILABLE) from away
            log.warning("database_awaited", why=str(away))
            await clock.sleep(PAUSE_S)


async def _first_start(config: ServerConfig, store: Store, vault: Vault, passwords: Passwords) -> None:
    """An empty database becomes a cloud; the admin's password is shown once, in a file that only root reads."""
    if not await store.read(seed.is_sown):
        ids = SystemIds()
        password = ids.token(12)
        _write_secret(config.state / PASSWORD_FILE, password + "\n")
        sow = partial(seed.sow, ids=ids, vault=vault, version=sysvm.__version__, admin_password_hash=passwords.hash_now(password))
        await store.run(sow)
        log.info("cloud_created", admin_password_in=str(config.state / PASSWORD_FILE))
    await store.read(lambda tx: seed.check_key(tx, vault))


def _write_secret(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


async def _begin(config: ServerConfig, store: Store, vault: Vault) -> Context:
    """A session of our own, and the cloud's keys."""
    ids = SystemIds()
    session = ids.uuid()

    server = _server(config)

    def begin(tx: Tx) -> keys.Keys:
        sessions.begin(tx, session, server)
        if not config.database:
            sessions.take_over_all(tx, session)
        return keys.ensure_keys(tx, vault, ids)

    made = await store.run(begin)
    _write_secret(config.state / LOGIN_KEY_FILE, made.login_key)
    return Context(store, SystemClock(), ids, Links(), made, session)


def _server(config: ServerConfig) -> sessions.Server:
    return sessions.Server(_server_uuid(config.state), socket.gethostname(), _hub_address(config), sysvm.__version__)


def _hub_address(config: ServerConfig) -> str:
    """Where hosts reach this server: what addHost tells them."""
    return f"{config.names[0]}:{split(config.hub)[1]}" if config.names else config.hub


def _server_uuid(state: Path) -> str:
    """This server's own name over restarts."""
    path = state / "server-uuid"
    if not path.exists():
        path.write_text(SystemIds().uuid() + "\n")
    return path.read_text().strip()


async def _start(config: ServerConfig, context: Context, apps: Apps, tasks: Tasks) -> Sessions:
    notices = Notices(context)
    identity = await _identity(config, context)
    hub = Hub(context.store, context.clock, identity, context.links, notices.ask, notices.hear)
    try:
        await hub.listen(*split(config.hub), tasks)
    except OSError as error:
        raise Refused(f"cannot listen on {config.hub}: {error.strerror}", Why.IN_USE) from error
    await _serve_api(apps, config.listen, tasks)
    port = await context.store.read(lambda tx: settings.value(tx, "integration.api.port"))
    if port:
        await _serve_integration(apps, int(port), tasks)
    earth = Earth(context.clock, tasks)
    tasks.start(earth.world.run(), "simulated world")
    simulated = SimulatedHosts(context, notices, tasks, earth)
    ours = Sessions(context, _server(config), (hub, simulated))
    tasks.start(ours.run(), "session")
    tasks.start(simulated.run(), "simulated hosts")
    tasks.start(NameServer(context.store, context.clock, Layout.of(config.state).names).run(), "name server")
    return ours


async def _identity(config: ServerConfig, context: Context) -> Identity:
    """The hub's certificate, with every address that hosts reach it by."""
    authority: Authority = context.keys.authority
    host, _ = split(config.hub)
    addresses, names = _sort_names((host, "127.0.0.1", *config.names))
    (cloud,) = await context.store.read(lambda tx: tx.sql("select uuid from cloud"))
    uri = f"sysvm://{cloud[0]}/server"
    issued, key = authority.issue(
        "management server", uri, context.clock.now(), seconds=SERVER_CERTIFICATE_S, addresses=addresses, names=names
    )
    folder = config.state / "server"
    folder.mkdir(exist_ok=True, mode=0o700)
    _write_secret(folder / "key.pem", key)
    _write_secret(folder / "cert.pem", issued.chain)
    _write_secret(folder / "ca.pem", authority.ca_pem)
    tls = server_context(str(folder / "cert.pem"), str(folder / "key.pem"), authority.ca_pem)
    return Identity(str(cloud[0]), context.session, authority, tls)


def _sort_names(given: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    addresses: dict[str, None] = {}
    names: dict[str, None] = {"localhost": None}
    for name in given:
        if name in ("0.0.0.0", "::", ""):
            continue
        is_address = ":" in name or name.replace(".", "").isdigit()
        (addresses if is_address else names)[name] = None
    return tuple(addresses), tuple(names)


async def _serve_api(apps: Apps, listen: str, tasks: Tasks) -> None:
    host, port = split(listen)
    await _uvicorn(apps.main, host, port, tasks)


async def _serve_integration(apps: Apps, port: int, tasks: Tasks) -> None:
    await _uvicorn(apps.integration, "127.0.0.1", port, tasks)


async def _uvicorn(app: object, host: str, port: int, tasks: Tasks) -> None:
    """Listens before it returns, so that a port that is taken is an error of the start."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(BACKLOG)
    except OSError as error:
        raise Refused(f"cannot listen on {host}:{port}: {error.strerror}", Why.IN_USE) from error
    config = uvicorn.Config(
        app,  # type: ignore[arg-type]
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        backlog=BACKLOG,
        h11_max_incomplete_event_size=128 * 1024,
    )
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    tasks.start(_serve_until_cancelled(server, listening), f"api {port}")


async def _serve_until_cancelled(server: uvicorn.Server, listening: socket.socket) -> None:
    try:
        await server._serve([listening])
    finally:
        server.should_exit = True


async def _told_to_stop() -> None:
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    await told.wait()


def main() -> int:
    """For `python -m sysvm.cli.serve STATE`."""
    run_server(ServerConfig(Path(sys.argv[1])))
    return 0
