"""The table at the end: what runs where, how, and why so; and where to click."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from sysvm.cli.client import Client, Json
from sysvm.cli.demo.places import Places

ADDRESS_FIELDS = ("publicip", "guestipaddress", "privateip", "linklocalip", "ipaddress")


def table(console: Console, places: Places, client: Client, facts: Json, times: list[tuple[str, float]]) -> None:
    """Prints it, once all is known."""
    for shown in (_machines(client), _links(places, client, facts)):
        console.print(shown)
    total = sum(took for _, took in times)
    console.print(f"[bold]Done in {total:.0f} s.[/] Take it down again with [bold]make down[/].")


def _machines(client: Client) -> Table:
    shown = Table(title="What runs here", title_justify="left")
    for heading in ("machine", "kind", "state", "host", "addresses", "runtime", "why that one"):
        shown.add_column(heading, no_wrap=heading in ("machine", "kind", "state"))
    for row in client.rows("listSystemVms", "systemvm"):
        _add(shown, row, str(row["systemvmtype"]))
    for row in client.rows("listRouters", "router", listall="true"):
        _add(shown, row, "router")
    for row in client.rows("listVirtualMachines", "virtualmachine", listall="true"):
        _add(shown, row, "guest")
    return shown


def _add(shown: Table, row: Json, kind: str) -> None:
    addresses = [str(row[name]) for name in ADDRESS_FIELDS if row.get(name)]
    addresses += [str(nic["ipaddress"]) for nic in row.get("nic", ()) if kind == "guest" and nic.get("ipaddress")]
    shown.add_row(
        str(row["name"]),
        kind,
        str(row["state"]),
        str(row.get("hostname", "")),
        "\n".join(dict.fromkeys(addresses)),
        str(row.get("runtime", "")),
        _short(str(row.get("runtimewhy", ""))),
    )


def _short(why: str) -> str:
    """The sentence without its details; listRouters and listSystemVms tell them."""
    return why.partition(":")[0]


def _links(places: Places, client: Client, facts: Json) -> Table:
    shown = Table(title="Where to click", title_justify="left", show_header=False)
    shown.add_column(overflow="fold")
    shown.add_column(overflow="fold")
    shown.add_row("API", places.endpoint)
    shown.add_row("admin login", f"admin / see {_relative(places.folder / 'server' / 'admin-password')} (only root reads it)")
    shown.add_row("for cs and cmk", _relative(places.folder / "cloudstack.ini"))
    if facts.get("said"):
        shown.add_row("guest one's page, from outside", f"{facts['page']} says: {str(facts['said']).strip()[:120]}")
    guest = client.rows("listVirtualMachines", "virtualmachine", name="one", listall="true")[0]
    console = client.call("createConsoleEndpoint", virtualmachineid=guest["id"])["consoleendpoint"]
    shown.add_row("guest one's screen (once, within a minute)", str(console.get("url", console.get("details"))))
    shown.add_row("another look", "sysvm demo console one")
    return shown


def _relative(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
