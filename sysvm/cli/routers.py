"""`sysvm router rules ID` and `sysvm router explain ID ...`: what the live rules of a router are and do, by the API.

Whom to ask: CLOUDSTACK_ENDPOINT, CLOUDSTACK_KEY and CLOUDSTACK_SECRET as other clients read them, else the demo of this folder.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sysvm.basics.errors import Refused
from sysvm.cli.client import ApiError, Client, Json, Keys
from sysvm.cli.demo import places

WORDS = ("CLOUDSTACK_ENDPOINT", "CLOUDSTACK_KEY", "CLOUDSTACK_SECRET")


def client(state: Path) -> Client:
    """Of the API that the environment names, or of the demo."""
    endpoint, key, secret = (os.environ.get(word, "") for word in WORDS)
    if endpoint and key and secret:
        return Client(endpoint, Keys(key, secret))
    keys = state / "keys.json"
    if not keys.exists():
        raise Refused(f"set {', '.join(WORDS)}, or give the state folder of a demo: there are no keys in {state}")
    return Client(places.of(state).endpoint, Keys(**json.loads(keys.read_text())))


def rules(state: Path, router: str) -> Iterator[str]:
    """The live rules, line by line; behind each the rule of the API that it is of."""
    found = _asked(state, "getRouterRules", "routerrules", id=router)
    place = ("", "")
    for each in found.get("rules", ()):
        if place != (each["table"], each["place"]):
            place = (each["table"], each["place"])
            yield f"{each['table']}: {each['place']}"
        yield f"    {each['rule']}{_owner(each)}"
    if found.get("omitted"):
        yield f"... and {found['omitted']} more"


def explained(state: Path, router: str, source: str, destination: str, protocol: str, port: int) -> Iterator[str]:
    """The verdict, then the way."""
    asked: dict[str, Any] = {"source": source, "destination": destination, "protocol": protocol, "port": port or None}
    found = _asked(state, "explainPacket", "packetexplanation", id=router, **asked)
    yield str(found["explanation"])
    for number, step in enumerate(found.get("steps", ()), 1):
        where = f"{step['place']}, chain {step['chain']}" if "chain" in step else step["place"]
        yield f"{number:3}. {where}: {step['explanation']}"
        if "rule" in step:
            yield f"       {step['rule']}{_owner(step)}"


def _owner(row: Json) -> str:
    kind, rule = row.get("ruletype", ""), row.get("ruleid", "")
    return f"  # {kind} {rule}".rstrip() if kind else ""


def _asked(state: Path, command: str, key: str, **params: Any) -> Json:
    try:
        return dict(client(state).job(command, **params)[key])
    except (ApiError, OSError) as error:
        raise Refused(str(error)) from error
