"""`sysvm demo console NAME`: another ticket for a guest's screen."""

import json
from pathlib import Path

from sysvm.basics.errors import Refused
from sysvm.cli.client import Client, Keys
from sysvm.cli.demo import places as demo_places
from sysvm.cli.demo import tenant
from sysvm.cli.demo.zone import one


def show(state: Path, words: tuple[str, ...]) -> None:
    """Prints the address. Raises Refused for anything but `console NAME`."""
    if len(words) != 2 or words[0] != "console":
        raise Refused("`sysvm demo console NAME` is all there is")
    places = demo_places.of(state)
    client = Client(places.endpoint, Keys(**json.loads((state / "keys.json").read_text())))
    guest = one(client, "listVirtualMachines", "virtualmachine", words[1], listall="true")
    if guest is None:
        raise Refused(f"there is no guest {words[1]}")
    print(tenant.open_console(client, guest["id"]))
