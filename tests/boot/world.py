"""A demo of our own: its folder, its API, and everything on this machine that belongs to it, found from the folder alone."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from sysvm.cli.client import ApiError, Client, Json, Keys
from sysvm.cli.demo import places
from sysvm.cli.demo.places import Places
from sysvm.cli.demo.supervisor import Supervisor
from sysvm.hosts.layout import Layout
from sysvm.hosts.lxc import cgroups
from tests.boot.patience import NotYet, until

T = TypeVar("T")
PROGRAM = str(Path(sys.executable).with_name("sysvm"))
COLOURS = ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLUMNS")


def sysvm(*words: str) -> subprocess.CompletedProcess[str]:
    """The command to its end, whatever that is; without colours, which would stand between the words."""
    plain = {name: value for name, value in os.environ.items() if name not in COLOURS}
    return subprocess.run([PROGRAM, *words], capture_output=True, text=True, check=False, env=plain)


class Admin(Client):
    """Who waits for jobs, and brings what everybody said last when one does not end."""

    def __init__(self, world: "World") -> None:
        super().__init__(world.places.endpoint, Keys(**json.loads((world.state / "keys.json").read_text())))
        self._world = world

    def job(self, command: str, **params: Any) -> Json:
        try:
            return super().job(command, **params)
        except ApiError as error:
            assert "has not ended" not in error.text, f"{error}\n{self._world.last_words()}"
            raise


@dataclass(frozen=True)
class World:
    """The demo of one state folder."""

    state: Path

    def up(self, *options: str) -> str:
        """`sysvm demo`, to its end; what it said."""
        done = sysvm("demo", "--state", str(self.state), *options)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{self.last_words()}"
        return done.stdout

    def down(self) -> str:
        """`sysvm down`; what it said."""
        done = sysvm("down", "--state", str(self.state))
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout

    @property
    def layout(self) -> Layout:
        """Where the host's things are."""
        return Layout.of(self.state)

    @cached_property
    def places(self) -> Places:
        """Addresses and ports."""
        return places.of(self.state)

    @cached_property
    def client(self) -> Admin:
        """The admin."""
        return Admin(self)

    # ------------------------------------------------------------ waiting
    def until(self, look: Callable[[], T | None], what: str) -> T:
        """Waits as long as something moves."""
        try:
            return until(look, what, self.moving)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.last_words()}") from None

    def moving(self) -> object:
        """What changes while the demo is at work: logs and serial lines grow, machines change."""
        logs = (*self.state.glob("logs/*/current"), *self.state.glob("host/machines/*/*/console.log"))
        with suppress(OSError):
            return [(path.stat().st_ino, path.stat().st_size) for path in logs], [
                (row["name"], row["state"], row.get("note")) for row in self.machines()
            ]
        return None

    def last_words(self) -> str:
        """What server, host agent and machines said last; for a test that failed."""
        logs = [self.state / "logs" / name / "current" for name in ("server", "host")]
        consoles = sorted(self.state.glob("host/machines/*/*/console.log"))
        return "\n".join(f"{file}:\n{file.read_text(errors='replace')[-3000:]}" for file in (*logs, *consoles) if file.exists())

    # ------------------------------------------------------------ machines
    def machines(self) -> list[Json]:
        """Rows of all machines, each with its `kind`."""
        rows = [{**row, "kind": row["systemvmtype"]} for row in self.client.rows("listSystemVms", "systemvm")]
        rows += [{**row, "kind": "router"} for row in self.client.rows("listRouters", "router", listall="true")]
        guests = self.client.rows("listVirtualMachines", "virtualmachine", listall="true")
        return rows + [{**row, "kind": "guest"} for row in guests]

    def machine(self, name: str) -> Json:
        """The row of a guest's name, or of a kind of system VM."""
        (row,) = [row for row in self.machines() if name in (row["name"], row["kind"])]
        return row

    def uuid(self, name: str) -> str:
        """Of a guest's name, or of a kind of system VM."""
        return str(self.machine(name)["id"])

    def addresses(self) -> dict[str, tuple[str, ...]]:
        """Of each machine."""
        names = ("publicip", "privateip", "guestipaddress", "ipaddress")
        return {row["name"]: tuple(str(row.get(name)) for name in names) for row in self.machines()}

    def all_run(self) -> bool:
        """Every machine runs, the agent of each system VM is up, the host is Up. Raises NotYet."""
        rows = self.machines()
        asleep = [
            f"{row['name']} is {row['state']} {row.get('agentstate', '')} {row.get('note', '')}"
            for row in rows
            if row["state"] != "Running" or row.get("agentstate", "Up") != "Up"
        ]
        if asleep:
            raise NotYet("; ".join(asleep))
        (host,) = self.client.rows("listHosts", "host", type="Routing")
        if host["state"] != "Up":
            raise NotYet(f"the host is {host['state']}")
        return True

    def incarnation(self, machine: str) -> int:
        """The newest one on the host."""
        return max(int(folder.name) for folder in self.layout.machine(machine).iterdir() if folder.name.isdigit())

    def events(self) -> dict[str, str]:
        """Type and text of the newest events, by id."""
        rows = self.client.rows("listEvents", "event", listall="true", pagesize=500, page=1)
        return {row["id"]: f"{row['type']}: {row['description']}" for row in rows}

    def alerts(self) -> dict[str, str]:
        """When the newest alerts were last raised, and their texts, by id."""
        rows = self.client.rows("listAlerts", "alert", pagesize=500, page=1)
        return {row["id"]: f"{row['sent']} {row['description']}" for row in rows}

    # ------------------------------------------------------------ processes
    def service(self, name: str) -> int | None:
        """The process of server or host agent."""
        return Supervisor(self.state).pid(name)

    def init(self, machine: str) -> int | None:
        """The first process of a container."""
        name = f"{machine}.{self.incarnation(machine)}"
        words = ("lxc-info", "-P", str(self.layout.lxc), "-n", name, "-p", "-H")
        said = subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()
        return int(said) if said.isdecimal() and int(said) > 0 else None

    def inside(self, machine: str, *words: str) -> int | None:
        """The process in a container whose command line has all these words."""
        init = self.init(machine)
        if init is None:
            return None
        home = Path(f"/proc/{init}/ns/pid").stat().st_ino
        found = [
            pid
            for pid, line in processes()
            if all(word in line for word in words) and _inode(Path(f"/proc/{pid}/ns/pid")) == home and pid != init
        ]
        return min(found, default=None)

    def qemu(self, machine: str) -> int | None:
        """The QEMU of a machine."""
        wanted = f"guest={machine}-"
        found = [pid for pid, line in processes() if "qemu-system" in line[:60] and wanted in line]
        return found[0] if found else None

    def libvirtd(self) -> int | None:
        """The libvirtd of this host."""
        file = self.layout.run / "libvirt" / "libvirtd.pid"
        pid = int(file.read_text()) if file.exists() else None
        return pid if pid is not None and Path(f"/proc/{pid}").exists() else None

    def kill(self, find: Callable[[], int | None]) -> Callable[[], int | None]:
        """SIGKILL to what `find` finds; the answer finds its successor."""
        old = find()
        assert old is not None
        os.kill(old, signal.SIGKILL)

        def successor() -> int | None:
            new = find()
            return new if new != old else None

        return successor

    # ------------------------------------------------------------ what there is
    def census(self) -> dict[str, int]:
        """How many of each thing there are on the host."""
        links = subprocess.run(
            ["ip", "-n", self.layout.namespace, "-j", "link"], capture_output=True, text=True, check=True
        ).stdout
        names = [row["ifname"] for row in json.loads(links)]
        qemus = [line for _, line in processes() if "qemu-system" in line[:60] and str(self.layout.run) in line]
        monitors = [line for _, line in processes() if line.startswith("[lxc monitor]") and str(self.layout.lxc) in line]
        return {
            "ports": sum(name.startswith("sv") for name in names),
            "bridges": sum(name.startswith("br") for name in names),
            "domains": len(qemus),
            "containers": len(monitors),
            "incarnations": len(list(self.layout.machines.glob("*/*/spec.json"))),
        }

    def leavings(self) -> list[str]:
        """Everything of this folder that is still on the machine."""
        layout = self.layout
        left = [f"process {pid}: {line}" for pid, line in processes() if str(self.state) in line]
        left += [f"mount {line}" for line in Path("/proc/mounts").read_text().splitlines() if self._is_ours(line)]
        left += [f"interface {name}" for name in self.places_uplink() if Path(f"/sys/class/net/{name}").exists()]
        left += [f"cgroup {group / layout.cgroup}" for group in cgroups.hierarchies() if (group / layout.cgroup).exists()]
        return left + [f"file {path}" for path in (layout.run, layout.namespace_path, self.state) if path.exists()]

    def places_uplink(self) -> tuple[str, str]:
        """The names of the uplink's ends, without making a demo.json."""
        return Places(str(self.state), 0, 0, 0).uplink

    def _is_ours(self, mount: str) -> bool:
        return any(str(path) in mount for path in (self.state, self.layout.run, self.layout.namespace_path))


def processes() -> Iterator[tuple[int, str]]:
    """Every process but our own, with its command line."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with suppress(OSError):
                yield int(entry.name), (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")


def _inode(path: Path) -> int | None:
    with suppress(OSError):
        return path.stat().st_ino
    return None


def answers(address: str, port: int, *, seconds: float = 2.0) -> str:
    """What a web server answers to GET /. Raises OSError."""
    with socket.create_connection((address, port), seconds) as line:
        line.settimeout(10)
        line.sendall(b"GET / HTTP/1.0\r\n\r\n")
        return line.makefile("rb").read().decode(errors="replace")
