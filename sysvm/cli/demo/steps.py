"""The demo, step by step, each with its time. Every step may be repeated: a second `make demo` finds all done."""

import contextlib
import hashlib
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from rich.console import Console

from sysvm import images
from sysvm.basics.errors import NotYet, Refused
from sysvm.cli import client as api
from sysvm.cli.client import ApiError, Client, Json, Keys
from sysvm.cli.demo import places as demo_places
from sysvm.cli.demo import show, tenant, zone
from sysvm.cli.demo.places import Places
from sysvm.cli.demo.supervisor import Supervisor, program
from sysvm.cli.files import PASSWORD_FILE, READY_FILE

T = TypeVar("T")
KEYS_FILE = "keys.json"
POLL_S = 0.2
WIDTH = 140


@dataclass
class Demo:
    """What the steps have made so far."""

    places: Places
    runtime: str
    simulated: bool
    console: Console
    times: list[tuple[str, float]] = field(default_factory=list)
    facts: Json = field(default_factory=dict)

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Shows a line that lives while the step is done, then its time."""
        begin = time.monotonic()
        with self.console.status(f"{title} …") as status:
            self._status = status
            self._title = title
            yield
        took = time.monotonic() - begin
        self.times.append((title, took))
        self.console.print(f"[green]✓[/] {title} [dim]{took:.1f} s[/]")

    def say(self, note: str) -> None:
        """What the step is at."""
        self._status.update(f"{self._title} … [dim]{note}[/]")

    def until(self, look: Callable[[], T], *, seconds: float = 600) -> T:
        """The value of `look` once it no longer raises NotYet."""
        end = time.monotonic() + seconds
        while True:
            try:
                return look()
            except NotYet as why:
                if time.monotonic() > end:
                    raise Refused(f"{self._title}: not within {seconds:g} s: {why.why}") from why
                self.say(why.why)
                time.sleep(POLL_S)


def run(state: Path, *, runtime: str = "auto", simulated: bool = False) -> None:
    """The whole demo."""
    demo = Demo(demo_places.of(state), runtime, simulated, _paper())
    guest = None
    if not simulated:
        guest = _images(demo)
        _uplink(demo)
    client = _server(demo)
    _zone(demo, client)
    _tenant(demo, client, guest)
    show.table(demo.console, demo.places, client, demo.facts, demo.times)


def _paper() -> Console:
    """Where the steps are shown. What is no terminal has no width of its own; 140 columns hold the table."""
    shown = Console()
    return shown if shown.is_terminal else Console(width=WIDTH)


# ---------------------------------------------------------------- this machine
def _images(demo: Demo) -> images.Guest:
    cache = images.cache_folder()
    with demo.step("System VM template"):
        template = images.ensure(cache, demo.say)
        demo.facts["template"] = template.version
    with demo.step("Agent layer"):
        images.agent_layer(cache)
    with demo.step("Guest image"):
        return images.build_guest(cache, demo.say)


def _uplink(demo: Demo) -> None:
    """A veth from this machine to the public network: our end is the test host outside."""
    ours, theirs = demo.places.uplink
    with demo.step("Uplink"):
        if not Path(f"/sys/class/net/{ours}").exists():
            _ip("link", "add", ours, "type", "veth", "peer", "name", theirs)
        _ip("addr", "replace", f"{demo.places.outside}/24", "dev", ours)
        _ip("link", "set", ours, "up")


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Refused(f"ip {' '.join(words)}: {done.stderr.strip()}")


# ---------------------------------------------------------------- server
def _server(demo: Demo) -> Client:
    places = demo.places
    supervisor = Supervisor(places.folder)
    with demo.step("Management server"):
        supervisor.add(
            "server",
            (
                program(),
                "server",
                "--state",
                str(places.folder / "server"),
                "--listen",
                f"127.0.0.1:{places.api_port}",
                "--hub",
                f"127.0.0.1:{places.hub_port}",
            ),
        )
        return demo.until(lambda: _client(places, supervisor), seconds=60)


def _client(places: Places, supervisor: Supervisor) -> Client:
    """A client with the admin's keys; made at the first time. Raises NotYet.

    Nothing is sent before our own server listens: the port may be somebody else's by now, and so would be the password.
    """
    ready = places.folder / "server" / READY_FILE
    if not ready.exists() or ready.read_text().strip() != str(supervisor.pid("server")):
        raise NotYet(0, f"the server does not listen on port {places.api_port} yet: {supervisor.last_words('server')}")
    file = places.folder / KEYS_FILE
    try:
        if not file.exists():
            password = (places.folder / "server" / PASSWORD_FILE).read_text().strip()
            keys = api.login(places.endpoint, "admin", password)
            file.touch(mode=0o600)
            file.write_text(json.dumps({"api": keys.api, "secret": keys.secret}))
            _write_ini(places, keys)
        client = Client(places.endpoint, Keys(**json.loads(file.read_text())))
        client.call("listCapabilities")
    except (OSError, ApiError) as error:
        raise NotYet(0, str(error)) from error
    return client


def _write_ini(places: Places, keys: Keys) -> None:
    """What `cs` and `cmk` read."""
    file = places.folder / "cloudstack.ini"
    file.touch(mode=0o600)
    file.write_text(f"[cloudstack]\nendpoint = {places.endpoint}\nkey = {keys.api}\nsecret = {keys.secret}\n")


# ---------------------------------------------------------------- zone
def _zone(demo: Demo, client: Client) -> None:
    places = demo.places
    with demo.step("Zone"):
        client.call("updateConfiguration", name="systemvm.runtime", value=demo.runtime)
        client.call("updateConfiguration", name="secstorage.allowed.internal.sites", value=f"10.{places.net}.0.0/24")
        made = zone.make_zone(client, places)
        demo.facts["zone"] = made["id"]
        zone.make_physical_network(client, made["id"])
        pod = zone.make_pod(client, made["id"], places)
        zone.make_public_range(client, made["id"], places)
    with demo.step("Host"):
        host = _host(demo, client, made["id"], pod["id"])
        zone.make_storage(client, made["id"], pod["id"], host, places.folder)
        client.call("updateZone", id=made["id"], allocationstate="Enabled")
    with demo.step("Console proxy and secondary storage VM"):
        demo.until(lambda: zone.system_vms_are_up(client, made["id"]))


def _host(demo: Demo, client: Client, zone_id: str, pod: str) -> Json:
    places = demo.places
    hypervisor = "Simulator" if demo.simulated else "KVM"
    url = f"http://{places.host_address}"
    row, join = zone.make_host(client, zone_id, pod, hypervisor, url)
    if not demo.simulated:
        for folder in ("primary", "secondary"):
            (places.folder / folder).mkdir(exist_ok=True)
        _host_agent(demo, join)
    return demo.until(lambda: zone.host_is_up(client, row["id"]), seconds=120)


def _host_agent(demo: Demo, join: str) -> None:
    """The line that addHost answered, as a daemon with this machine's uplink."""
    places = demo.places
    token_file = places.folder / "host-token"
    if join:
        token_file.touch(mode=0o600)
        token_file.write_text(join.split("--token ", 1)[1])
    command = [
        program(), "agent", "host", "--state", str(places.folder), "--server", f"127.0.0.1:{places.hub_port}",
        "--token-file", str(token_file), "--uplink", places.uplink[1],
    ]  # fmt: skip
    Supervisor(places.folder).add("host", command)


# ---------------------------------------------------------------- tenant
def _tenant(demo: Demo, client: Client, guest: images.Guest | None) -> None:
    zone_id = demo.facts["zone"]
    with demo.step("Guest template"):
        template = _template(demo, client, guest)
    with demo.step("Network, router and two guests"):
        network = tenant.make_network(client, zone_id)
        tenant.deploy(client, zone_id, template["id"], network["id"])
        first, _ = demo.until(lambda: tenant.guests_run(client))
    with demo.step("Port forward into guest one"):
        address = tenant.let_world_in(client, network["id"], first["id"])
        demo.facts["page"] = f"http://{address}/"
        if not demo.simulated:
            demo.facts["said"] = demo.until(lambda: tenant.page_of(address), seconds=180)
    with demo.step("Console of guest one"):
        url = demo.until(lambda: tenant.open_console(client, first["id"]), seconds=60)
        demo.facts["console"] = url
        if not demo.simulated:
            demo.until(lambda: tenant.console_answers(url), seconds=30)


def _template(demo: Demo, client: Client, guest: images.Guest | None) -> Json:
    places, zone_id = demo.places, demo.facts["zone"]
    if guest is None:
        made = tenant.register_template(client, zone_id, "Simulator", f"{places.image_url}/tiny.qcow2", "")
    else:
        folder = str(guest.disk.parent)
        serve = ("python3", "-m", "http.server", "8000", "--bind", places.outside, "--directory", folder)
        Supervisor(places.folder).add("images", serve)
        with guest.disk.open("rb") as disk:
            checksum = f"{{SHA-256}}{hashlib.file_digest(disk, 'sha256').hexdigest()}"
        made = tenant.register_template(client, zone_id, "KVM", f"{places.image_url}/{guest.disk.name}", checksum)
    return demo.until(lambda: tenant.template_is_ready(client, zone_id, made["id"]))
