"""The veth between this machine and the demo's public network: our end is the test host outside.

An interface of that name that is no veth is somebody else's, and is left to him.
"""

import json
import subprocess
from pathlib import Path

from sysvm.basics.errors import Refused, Why
from sysvm.cli.demo.places import Places


def ensure(places: Places) -> None:
    """It is there, with the outside's address."""
    ours, theirs = places.uplink
    for name in places.uplink:
        if _exists(name) and not _is_veth(name):
            raise Refused(
                f"the interface {name} is in use by something else: rename it, or give the demo another --state",
                Why.IN_USE,
            )
    if not _exists(ours):
        _ip("link", "add", ours, "type", "veth", "peer", "name", theirs)
    _ip("addr", "replace", f"{places.outside}/24", "dev", ours)
    _ip("link", "set", ours, "up")


def remove(places: Places) -> None:
    """Neither end is there."""
    for name in places.uplink:
        try:
            if _exists(name) and _is_veth(name):
                _ip("link", "del", name)
        except Refused:
            # The namespace of the other end may be on its way out, and take both with it.
            if _exists(name):
                raise


def _exists(name: str) -> bool:
    return Path(f"/sys/class/net/{name}").exists()


def _is_veth(name: str) -> bool:
    (row,) = json.loads(_ip("-j", "-d", "link", "show", name))
    return bool(row.get("linkinfo", {}).get("info_kind") == "veth")


def _ip(*words: str) -> str:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Refused(f"ip {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout
