"""`sysvm`: server, agent, template, demo, down. Each imports only what it needs: starting fast is a feature."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

import sysvm
from sysvm.basics.errors import NotYet, Refused

app = App(name="sysvm", help="A cloud manager whose system VMs look after themselves.", version=sysvm.__version__)
agent = App(name="agent", help="The program on hosts.")
template = App(name="template", help="The system VM template.")
app.command(agent)
app.command(template)


@app.command
def server(
    *,
    state: Path,
    listen: str = "127.0.0.1:8080",
    hub: str = "127.0.0.1:8250",
    database: str = "",
    name: Annotated[tuple[str, ...], Parameter(name="--name")] = (),
) -> None:
    """Runs a management server; an empty state folder becomes an empty cloud.

    Parameters
    ----------
    state: folder of database, keys and secrets
    listen: address of the API
    hub: address that host agents dial
    database: postgresql://user:password@host/name instead of the SQLite file
    name: further addresses or names that hosts reach the hub by
    """
    from sysvm.cli.serve import ServerConfig, run_server

    run_server(ServerConfig(state.absolute(), listen, hub, database, name))


def main() -> None:
    """The entry point: a refusal is a sentence and exit code 1, never a traceback."""
    try:
        app()
    except (Refused, NotYet) as refused:
        print(f"sysvm: {refused}", file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
