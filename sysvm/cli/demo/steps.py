"""The demo, step by step, each with its time. Every step may be repeated: a second `make demo` finds all done."""

import hashlib
import http.client
import json
import os
import sys
import time
import urllib.error
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.status import Status

from sysvm import images
from sysvm.basics.errors import NotYet, Refused
from sysvm.cli import client as api
from sysvm.cli.client import ApiError, Client, Json, Keys
from sysvm.cli.demo import needs, show, tenant, uplink, zone
from sysvm.cli.demo import places as demo_places
from sysvm.cli.demo.places import Places, write_secret
from sysvm.cli.demo.supervisor import Supervisor, program
from sysvm.cli.files import PASSWORD_FILE, READY_FILE

T = TypeVar("T")
KEYS_FILE = "keys.json"
POLL_S = 0.2
STEADY_S, SILENCE_S = 5.0, 60.0
WIDTH = 140


@dataclass
class Demo:
    """What the steps have made so far."""

    places: Places
    runtime: str
    simulated: bool
    console: Console
    ui: Path | None = None
    times: list[tuple[str, float]] = field(default_factory=list)
    facts: Json = field(default_factory=dict)
    _title: str = ""
    _status: Status | None = None

    def step(self, title: str, work: Callable[[], T]) -> T:
        """Does a step, with a line that lives meanwhile and its time afterwards. Raises Refused.

        A server that dies is started again by its supervisor, and a step may be repeated: so it is, from its begin.
        """
        begin = time.monotonic()
        self._title = title
        with self.console.status(f"{title} …") as status:
            self._status = status
            done = self.insist(work)
        took = time.monotonic() - begin
        self.times.append((title, took))
        self.console.print(f"[green]✓[/] {title} [dim]{took:.1f} s[/]")
        return done

    def insist(self, work: Callable[[], T]) -> T:
        """Does it, again and again while the server does not answer. Raises Refused when it stays silent."""
        failing: float | None = None
        while True:
            begin = time.monotonic()
            try:
                return work()
            except (ConnectionError, http.client.HTTPException, urllib.error.URLError, TimeoutError) as error:
                # A try that got somewhere begins the patience anew.
                failing = begin if failing is None or time.monotonic() - begin > STEADY_S else failing
                if time.monotonic() - failing > SILENCE_S:
                    raise Refused(f"{self._title}: {error}, for {SILENCE_S:g} s; {self._why_silent()}") from error
                self.say(f"the server does not answer: {error}")
                time.sleep(POLL_S)

    def _why_silent(self) -> str:
        return f"the server said last: {Supervisor(self.places.folder).last_words('server')}"

    def say(self, note: str) -> None:
        """What the step is at."""
        if self._status is not None:
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


def run(state: Path, *, runtime: str = "auto", simulated: bool = False, ui: Path | None = None) -> None:
    """The whole demo."""
    if not simulated and os.geteuid() != 0:
        raise Refused("the demo makes network namespaces and machines: run it as root, or with --simulated")
    needs.check(simulated=simulated, path=os.environ.get("PATH"))
    demo = Demo(demo_places.of(state), runtime, simulated, _paper(), ui)
    guest = None
    if not simulated:
        guest = _images(demo)
        demo.step("Uplink", lambda: uplink.ensure(demo.places))
    client = demo.step("Management server", lambda: _server(demo))
    _zone(demo, client)
    _tenant(demo, client, guest)
    demo.insist(lambda: show.table(demo.console, demo.places, client, demo.facts, demo.times))


def _paper() -> Console:
    """Where the steps are shown. What is no terminal has no width of its own; 140 columns hold the table."""
    return Console() if sys.stdout.isatty() else Console(width=WIDTH)


# ---------------------------------------------------------------- this machine
def _images(demo: Demo) -> images.Guest:
    cache = images.cache_folder()
    demo.step("System VM template", lambda: images.ensure(cache, demo.say))
    demo.step("Agent layer", lambda: images.agent_layer(cache))
    return demo.step("Guest image", lambda: images.build_guest(cache, demo.say))


# ---------------------------------------------------------------- server
def _server(demo: Demo) -> Client:
    places = demo.places
    supervisor = _supervisor(places)
    command = [
        program(), "server", "--state", str(places.folder / "server"),
        "--listen", f"127.0.0.1:{places.api_port}", "--hub", f"127.0.0.1:{places.hub_port}",
    ]  # fmt: skip
    if demo.ui is not None:
        command += ["--ui", str(demo.ui.absolute())]
    supervisor.add("server", command)
    return demo.until(lambda: _client(places, supervisor), seconds=60)


def _supervisor(places: Places) -> Supervisor:
    """The demo's, which keeps its ports."""
    return Supervisor(places.folder, demo_places.locks(places))


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
            _write_ini(places, keys)
            write_secret(file, json.dumps({"api": keys.api, "secret": keys.secret}))
        client = Client(places.endpoint, Keys(**json.loads(file.read_text())))
        client.call("listCapabilities")
    except (OSError, ApiError) as error:
        raise NotYet(0, str(error)) from error
    return client


def _write_ini(places: Places, keys: Keys) -> None:
    """What `cs` and `cmk` read."""
    text = f"[cloudstack]\nendpoint = {places.endpoint}\nkey = {keys.api}\nsecret = {keys.secret}\n"
    write_secret(places.folder / "cloudstack.ini", text)


# ---------------------------------------------------------------- zone
def _zone(demo: Demo, client: Client) -> None:
    zone_id, pod = demo.step("Zone", lambda: _make_zone(demo, client))
    demo.facts["zone"] = zone_id
    demo.step("Host", lambda: _open_zone(demo, client, zone_id, pod))
    title = "Console proxy and secondary storage VM"
    demo.step(title, lambda: demo.until(lambda: zone.system_vms_are_up(client, zone_id)))


def _make_zone(demo: Demo, client: Client) -> tuple[str, str]:
    """Zone and pod."""
    places = demo.places
    client.call("updateConfiguration", name="systemvm.runtime", value=demo.runtime)
    client.call("updateConfiguration", name="secstorage.allowed.internal.sites", value=f"10.{places.net}.0.0/24")
    made = zone.make_zone(client, places)
    zone.make_physical_network(client, made["id"])
    pod = zone.make_pod(client, made["id"], places)
    zone.make_public_range(client, made["id"], places)
    return made["id"], pod["id"]


def _open_zone(demo: Demo, client: Client, zone_id: str, pod: str) -> None:
    host = _host(demo, client, zone_id, pod)
    zone.make_storage(client, zone_id, pod, host, demo.places.folder)
    client.call("updateZone", id=zone_id, allocationstate="Enabled")


def _host(demo: Demo, client: Client, zone_id: str, pod: str) -> Json:
    places = demo.places
    hypervisor = "Simulator" if demo.simulated else "KVM"
    url = f"http://{places.host_address}"
    row, join = zone.make_host(client, zone_id, pod, hypervisor, url)
    if not demo.simulated:
        token = places.folder / "host-token"
        if not join and not token.exists():
            # The line was answered to somebody who died before writing it down: it is told once only.
            client.call("deleteHost", id=row["id"], forced="true")
            row, join = zone.make_host(client, zone_id, pod, hypervisor, url)
        if join:
            write_secret(token, join.split("--token ", 1)[1])
        _host_agent(places, token)
    return demo.until(lambda: zone.host_is_up(client, row["id"]), seconds=120)


def _host_agent(places: Places, token: Path) -> None:
    """The line that addHost answered, as a daemon with this machine's uplink."""
    for folder in ("primary", "secondary"):
        (places.folder / folder).mkdir(exist_ok=True)
    command = [
        program(), "agent", "host", "--state", str(places.folder), "--server", f"127.0.0.1:{places.hub_port}",
        "--token-file", str(token), "--uplink", places.uplink[1],
    ]  # fmt: skip
    _supervisor(places).add("host", command)


# ---------------------------------------------------------------- tenant
def _tenant(demo: Demo, client: Client, guest: images.Guest | None) -> None:
    template = demo.step("Guest template", lambda: _template(demo, client, guest))
    network, first = demo.step("Network, router and two guests", lambda: _guests(demo, client, template["id"]))
    demo.step("Port forward into guest one", lambda: _let_world_in(demo, client, network["id"], first["id"]))
    demo.step("Console of guest one", lambda: _console(demo, client, first["id"]))


def _guests(demo: Demo, client: Client, template: str) -> tuple[Json, Json]:
    """The network and guest one."""
    zone_id = demo.facts["zone"]
    network = tenant.make_network(client, zone_id)
    tenant.deploy(client, zone_id, template, network["id"])
    first, _ = demo.until(lambda: tenant.guests_run(client))
    return network, first


def _let_world_in(demo: Demo, client: Client, network: str, guest: str) -> None:
    address = tenant.let_world_in(client, network, guest)
    demo.facts["page"] = f"http://{address}/"
    if not demo.simulated:
        demo.facts["said"] = demo.until(lambda: tenant.page_of(address), seconds=180)


def _console(demo: Demo, client: Client, guest: str) -> None:
    url = demo.until(lambda: tenant.open_console(client, guest), seconds=60)
    if not demo.simulated:
        demo.until(lambda: tenant.console_answers(url), seconds=30)


def _template(demo: Demo, client: Client, guest: images.Guest | None) -> Json:
    places, zone_id = demo.places, demo.facts["zone"]
    if guest is None:
        made = tenant.register_template(client, zone_id, "Simulator", f"{places.image_url}/tiny.qcow2", "")
    else:
        folder = str(guest.disk.parent)
        serve = ("python3", "-m", "http.server", "8000", "--bind", places.outside, "--directory", folder)
        _supervisor(places).add("images", serve)
        with guest.disk.open("rb") as disk:
            checksum = f"{{SHA-256}}{hashlib.file_digest(disk, 'sha256').hexdigest()}"
        made = tenant.register_template(client, zone_id, "KVM", f"{places.image_url}/{guest.disk.name}", checksum)
    return demo.until(lambda: tenant.template_is_ready(client, zone_id, made["id"]))
