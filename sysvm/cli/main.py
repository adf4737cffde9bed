"""`sysvm`: server, agent, template, router, demo, down. Each imports only what it needs: starting fast is a feature."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

import sysvm
from sysvm.basics.collector import loading
from sysvm.basics.errors import NotYet, Refused, leaves

app = App(name="sysvm", help="A cloud manager whose system VMs look after themselves.", version=sysvm.__version__)
agent = App(name="agent", help="The program on hosts.")
template = App(name="template", help="The system VM template.")
certs = App(name="certs", help="The certificates that console proxies show.")
router = App(name="router", help="What a router's live rules are and do.")
app.command(agent)
app.command(template)
app.command(certs)
app.command(router)


@app.command
def server(
    *,
    state: Path,
    listen: str = "127.0.0.1:8080",
    hub: str = "127.0.0.1:8250",
    database: str = "",
    name: Annotated[tuple[str, ...], Parameter(name="--name")] = (),
    ui: Path | None = None,
) -> None:
    """Runs a management server; an empty state folder becomes an empty cloud.

    Parameters
    ----------
    state: folder of database, keys and secrets
    listen: address of the API
    hub: address that host agents dial
    database: postgresql://user:password@host/name instead of the SQLite file
    name: further addresses or names that hosts reach the hub by
    ui: folder of a built CloudStack UI, which is served at /client/ beside the API
    """
    with loading():
        from sysvm.cli.serve import ServerConfig, run_server

    run_server(ServerConfig(state.absolute(), listen, hub, database, name, ui))


DEMO_STATE = Path("var/demo")


@app.command
def demo(
    words: tuple[str, ...] = (),
    *,
    state: Path = DEMO_STATE,
    runtime: str = "auto",
    simulated: bool = False,
    ui: Path | None = None,
) -> None:
    """Brings up a whole zone on this machine, through the API only; `demo console NAME` opens a guest's screen again.

    Parameters
    ----------
    runtime: how system VMs run: auto, container or vm
    simulated: hosts, system VMs and guests are pretended; needs no root
    ui: folder of a built CloudStack UI, served at /client/
    """
    if words:
        from sysvm.cli.demo.console import show

        show(state.absolute(), words)
        return
    from sysvm.cli.demo.steps import run

    run(state.absolute(), runtime=runtime, simulated=simulated, ui=ui)


@app.command
def down(*, state: Path = DEMO_STATE) -> None:
    """Takes the demo down; nothing of it is left."""
    from sysvm.cli.demo.down import run

    run(state.absolute())


@app.command
def bench(words: tuple[str, ...] = ()) -> None:
    """Measures this checkout: bench/results.json and the README's table. Same as `make bench`."""
    import subprocess

    folder = Path(__file__).parents[2]
    if not (folder / "bench").is_dir():
        raise Refused("benchmarks run from a checkout of the project only")
    raise SystemExit(subprocess.run([sys.executable, "-m", "bench", *words], cwd=folder, check=False).returncode)


@app.command
def recover(*, state: Path, database: str = "") -> None:
    """Begins a new epoch after the database was restored from a backup; hosts are adopted as they are.

    Parameters
    ----------
    state: folder of the server, which must not run
    database: postgresql://... as the server is given
    """
    from sysvm.cli import recover as recovery

    epoch = recovery.run(state.absolute(), database)
    print(f"epoch {epoch}; start the server: it adopts what runs on the hosts before it changes anything")


@agent.command(name="host")
def agent_host(
    *,
    state: Path,
    server: Annotated[tuple[str, ...], Parameter(name="--server")] = ("127.0.0.1:8250",),
    name: str = "",
    token: str = "",
    token_file: Path | None = None,
    uplink: str = "",
    management_link: str = "",
    underlay_link: str = "",
    underlay: str = "",
) -> None:
    """Runs the agent of this host.

    Parameters
    ----------
    state: folder of everything that this host keeps
    server: address of a management server's hub, repeatable
    token: TOKEN@FINGERPRINT as addHost answers it; needed for the first contact only
    token_file: a file with the same
    uplink: interface to plug into the public bridge
    management_link: interface to plug into the management bridge
    underlay_link: interface that leads to other hosts
    underlay: this host's address/prefix on it
    """
    import asyncio
    import socket

    import uvloop

    from sysvm.basics.log import configure
    from sysvm.cli.serve import split
    from sysvm.hosts.agent import HostConfig, run_host

    given = token or (token_file.read_text().strip() if token_file is not None and token_file.exists() else "")
    secret, _, fingerprint = given.partition("@")
    configure()
    config = HostConfig(
        state=state.absolute(),
        name=name or socket.gethostname(),
        servers=tuple(split(address) for address in server),
        token=secret,
        fingerprint=fingerprint,
        uplink=uplink or None,
        management_link=management_link or None,
        underlay_link=underlay_link or None,
        underlay=underlay,
    )
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    asyncio.run(run_host(config))


@agent.command
def join(
    *, server: Annotated[tuple[str, ...], Parameter(name="--server")], token: str, state: Path = Path("/var/lib/sysvm")
) -> None:
    """Makes this machine a host of a cloud: the line that addHost answers. Runs until stopped."""
    agent_host(state=state, server=server, token=token)


@template.command
def build(*, for_: Annotated[tuple[str, ...], Parameter(name="--for")] = ()) -> None:
    """Builds the system VM template, or finds the one that is built.

    Parameters
    ----------
    for_: also writes it as a file for this hypervisor (kvm, lxc, vmware, xenserver, hyperv), with its SHA-256; may be repeated
    """
    from sysvm import images

    made = images.build(images.cache_folder(), print)
    print(f"{made.version} in {images.cache_folder()}")
    for hypervisor in for_:
        written = images.export(images.cache_folder(), made, hypervisor, print)
        print(f"{written.sha256}  {written.file}")


@template.command
def check() -> int:
    """Tells whether the archives have newer packages than the template."""
    from sysvm.images.__main__ import main as images_main

    return images_main(["check"])


@template.command(name="list")
def list_() -> None:
    """The templates at hand."""
    from sysvm import images

    for made in images.list_templates(images.cache_folder()):
        print(made.version)


@certs.command(name="list")
def certs_list(*, state: Path, database: str = "") -> None:
    """What was uploaded, the root first and the server certificate last.

    Parameters
    ----------
    state: folder of the server
    database: postgresql://... as the server is given
    """
    from sysvm.cli.certs import listed

    print("\n".join(listed(state.absolute(), database) or ["none was uploaded: consoles are served without TLS"]))


@certs.command(name="import")
def certs_import(folder: Path, *, domain: str, state: Path, database: str = "") -> None:
    """Replaces them all with those of a directory, checked as uploadCustomCertificate does.

    Parameters
    ----------
    folder: directory with the server certificate, its key, and the certificates above it
    domain: domain suffix of the proxies' names
    state: folder of the server
    database: postgresql://... as the server is given
    """
    from sysvm.cli.certs import imported

    print(imported(state.absolute(), folder, domain, database))


@router.command
def rules(id_: str, *, state: Path = DEMO_STATE) -> None:
    """Prints the live rules of a router, read from its kernel, with the ids of the API's rules.

    Parameters
    ----------
    id_: of the router, as listRouters tells it
    state: folder of a demo, where CLOUDSTACK_ENDPOINT, CLOUDSTACK_KEY and CLOUDSTACK_SECRET are not set
    """
    from sysvm.cli import routers

    print("\n".join(routers.rules(state.absolute(), id_)))


@router.command
def explain(id_: str, source: str, destination: str, protocol: str, port: int = 0, *, state: Path = DEMO_STATE) -> None:
    """Tells which way a packet would take through a router, and which rule decides. Nothing is sent.

    Parameters
    ----------
    id_: of the router
    protocol: tcp, udp, icmp, or the number of a protocol
    port: of the destination
    state: folder of a demo, where CLOUDSTACK_ENDPOINT, CLOUDSTACK_KEY and CLOUDSTACK_SECRET are not set
    """
    from sysvm.cli import routers

    print("\n".join(routers.explained(state.absolute(), id_, source, destination, protocol, port)))


def main() -> None:
    """The entry point: a refusal is a sentence and exit code 1, never a traceback."""
    errors: tuple[BaseException, ...] = ()
    try:
        app()
    except* (Refused, NotYet) as refused:
        errors = tuple(leaves(refused))
    for error in errors:  # what is raised within `except*` comes out as a group from Debian 12's Python
        print(f"sysvm: {error}", file=sys.stderr)
    if errors:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
