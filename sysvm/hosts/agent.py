"""The host agent: one process for each host, in the machine's own namespaces. It puts the parts together and keeps them
running.

It may be killed at any moment: containers, VMs and the relay are no children of it, what it must know is on disk, and
what it finds running it takes up again. Two agents on one state folder exclude each other by a lock on it.
"""

import asyncio
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import sysvm
from sysvm.basics.clock import Clock, SystemClock
from sysvm.basics.digest import digest
from sysvm.basics.errors import Broken, NotYet, Refused, Why
from sysvm.basics.ids import Ids, SystemIds
from sysvm.basics.log import get_logger
from sysvm.basics.tasks import Tasks
from sysvm.hosts import collecting, facts
from sysvm.hosts.agentlayer import choose_agent
from sysvm.hosts.channels import Channels
from sysvm.hosts.document import Document
from sysvm.hosts.driver import Capabilities, Changed, ChannelEnd, Driver, Mover
from sysvm.hosts.identity import Identity, pinned_ca
from sysvm.hosts.layout import Layout
from sysvm.hosts.lxc import LxcDriver
from sysvm.hosts.lxc.ids import Ids as UserIds
from sysvm.hosts.memory import DurableMemory
from sysvm.hosts.moves.doors import Doors
from sysvm.hosts.moves.gates import PortGates
from sysvm.hosts.moves.handover import DurableJournal
from sysvm.hosts.moves.relocation_way import DoorWay
from sysvm.hosts.network import HostNetwork, Underlay
from sysvm.hosts.relay.process import keep_relay
from sysvm.hosts.security_groups import SecurityGroups
from sysvm.hosts.server_link import Address, ServerLink, join
from sysvm.hosts.service import HostService
from sysvm.hosts.specs import SpecsOnDisk
from sysvm.hosts.storage.volumes import Volumes
from sysvm.hosts.system.runfolder import ensure_run_folder
from sysvm.hosts.work import Work
from sysvm.wire import link
from sysvm.wire.channel import AgentHello
from sysvm.wire.documents import HostDocument
from sysvm.wire.machines import Runtime

if TYPE_CHECKING:
    from sysvm.hosts.kvm.driver import KvmDriver

INVENTORY_S = 10.0
MEND_S = 5.0
_WATCH_AGAIN_S = 5.0
_PASSING = (Broken, NotYet, Refused, OSError)  # what does not end the host agent: it is tried again
log = get_logger()


@dataclass(frozen=True, slots=True)
class HostConfig:
    """What a host agent is started with. Token and CA are only needed until it has joined."""

    state: Path
    name: str
    servers: tuple[Address, ...] = (("127.0.0.1", 8250),)
    token: str = ""
    fingerprint: str = ""  # SHA-256 of the CA certificate (DER), hex
    ca_file: Path | None = None  # instead of the fingerprint
    uplink: str | None = None
    management_link: str | None = None
    underlay_link: str | None = None
    underlay: str = ""  # address/prefix


async def run_host(config: HostConfig, clock: Clock | None = None, ids: Ids | None = None) -> None:
    """Runs until cancelled. Raises Refused when this machine cannot be a host."""
    if os.geteuid() != 0:
        raise Refused("the host agent needs root: it makes namespaces, bridges and containers", Why.UNAVAILABLE)
    layout = Layout.of(config.state)
    layout.host.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _alone(layout):
        ensure_run_folder(layout)
        agent = HostAgent(config, layout, clock or SystemClock(), ids or SystemIds())
        async with Tasks() as tasks:
            await agent.run(tasks)


class HostAgent:
    """The parts of a host agent."""

    def __init__(self, config: HostConfig, layout: Layout, clock: Clock, ids: Ids) -> None:
        self._config = config
        self._layout = layout
        self._clock = clock
        self._ids = ids
        self._identity = Identity(layout.tls)
        self._memory = DurableMemory(layout.host / "fences", clock)
        underlay = Underlay(config.uplink, config.management_link, config.underlay_link, config.underlay)
        self._network = HostNetwork(layout, underlay)
        self._document = Document(layout, self._network)
        self._groups = SecurityGroups(layout, self._network)
        self._drivers: dict[Runtime, Driver] = {}
        self._kvm: KvmDriver | None = None
        self._service: HostService
        self._capabilities: tuple[Capabilities, ...] = ()
        self._features: tuple[str, ...] = ()

    async def run(self, tasks: Tasks) -> None:
        """Brings everything up and keeps it up, until cancelled."""
        await self._network.ensure()
        await choose_agent(self._layout)
        await self._find_out()
        await self._ensure_joined(tasks)
        server = self._make_link(tasks)
        for driver in self._drivers.values():
            tasks.start(self._watch(driver, server), "watch")
        tasks.start(server.run(), "server link")
        tasks.start(keep_relay(self._layout, self._clock), "relay")
        tasks.start(self._mend(), "security groups")
        tasks.start(collecting.keep_collecting(self._layout, self._clock), "collecting")
        await self._send_inventory(server)

    async def _find_out(self) -> None:
        self._features = await facts.probe_features()
        users = UserIds(self._layout.host / "ids.json", self._layout.hash8)
        candidates: dict[Runtime, Driver] = {Runtime.CONTAINER: LxcDriver(self._layout, self._network, users)}
        if find_spec("libvirt") is not None:
            from sysvm.hosts.kvm.driver import KvmDriver

            candidates[Runtime.VM] = self._kvm = KvmDriver(self._layout, self._network, ids=users)
        for runtime, driver in candidates.items():
            found = await driver.capabilities()
            self._capabilities += (found,)
            if found.usable:
                self._drivers[runtime] = driver
            log.info("driver_found", hypervisor=found.hypervisor, usable=found.usable, why=found.why)
        if self._config.underlay:
            self._features += ("handover",)
        if Runtime.VM in self._drivers and self._config.underlay:
            self._features += ("live-migration",)

    def _make_link(self, tasks: Tasks) -> ServerLink:
        volumes, specs = Volumes(self._layout, self._kvm), SpecsOnDisk(self._layout)

        def heard(notice: link.HostNoticeBody) -> None:
            server.notify(notice)
            if isinstance(notice, link.FromAgent) and isinstance(notice.notice, AgentHello):
                tasks.start(service.reconcile(notice.machine), "reconcile")

        # Parts that speak to the server are made before the link that carries them.
        channels = Channels(self._end_of, tasks, self._clock, lambda notice: heard(notice), lambda ask: server.ask(ask))
        work = Work(volumes, tasks, self._clock, lambda notice: server.notify(notice), self._layout.host / "tasks")
        doors = Doors(self._layout.namespace, self._config.underlay.partition("/")[0], self._identity.door, tasks)
        movers = self._movers(doors, tasks, lambda machine: server.notify(link.MachineChanged(machine=machine)))
        way = DoorWay(self._layout, doors, channels, tasks, host=self._our_name, context=self._identity.context)
        service = HostService(
            drivers=self._drivers,
            movers=movers,
            specs=specs,
            agents=channels,
            memory=self._memory,
            work=work,
            storage=volumes,
            apply_host=self._document.apply,
            apply_groups=self._groups.apply,
            journal=DurableJournal(self._layout.host / "handovers"),
            gates=PortGates(self._layout, self._network),
            clock=self._clock,
            way=way,
        )
        way.taker = service
        server = ServerLink(
            self._config.servers,
            self._identity,
            tasks,
            self._clock,
            self._ids,
            hello=self._hello,
            welcomed=lambda welcome: service.obey(welcome.epoch),
            serve=service.serve,
        )
        self._service = service
        tasks.start(self._take_up(channels, specs, work), "take up")
        return server

    def _movers(self, doors: Doors, tasks: Tasks, changed: Changed) -> dict[Runtime, Mover]:
        """What moves running machines to other hosts, which it reaches over the underlay."""
        if self._kvm is None or Runtime.VM not in self._drivers:
            return {}
        from sysvm.hosts.kvm.mover import KvmMover

        identity = self._identity
        mover = KvmMover(self._kvm, self._layout, doors, tasks, host=self._our_name, context=identity.context, changed=changed)
        return {Runtime.VM: mover}

    def _our_name(self) -> str:
        names = self._identity.names()
        assert names is not None
        return names.host

    async def _take_up(self, channels: Channels, specs: SpecsOnDisk, work: Work) -> None:
        """What an earlier life of this agent has left: its document, channels, unfinished work."""
        document = self._document.last()
        if document is not None:
            self._service.adopt(document)
            await self._apply_again(document)
        for machine in specs.machines():
            for incarnation in specs.incarnations(machine):
                await channels.ensure(machine, incarnation)
        work.resume()
        await self._service.resume()

    async def _apply_again(self, document: HostDocument) -> None:
        try:
            report = await self._document.apply(document)
            log.info("document_applied_again", faults=report.faults)
        except _PASSING as error:
            # A server will ask for it again; machines do not depend on it.
            log.warning("document_not_applied_again", why=str(error))

    def _end_of(self, machine: str, incarnation: int) -> ChannelEnd | None:
        runtime = SpecsOnDisk(self._layout).incarnations(machine).get(incarnation)
        driver = None if runtime is None else self._drivers.get(runtime)
        return None if driver is None else driver.channel(machine, incarnation)

    async def _watch(self, driver: Driver, server: ServerLink) -> None:
        while True:
            try:
                await driver.watch(lambda machine: server.notify(link.MachineChanged(machine=machine)))
            except _PASSING as error:
                log.warning("watch_ended", why=str(error))
            await self._clock.sleep(_WATCH_AGAIN_S)

    async def _send_inventory(self, server: ServerLink) -> None:
        while True:
            try:
                server.notify(link.InventoryDigest(digest=digest(await self._service.look_all())))
            except _PASSING as error:
                log.warning("inventory_not_taken", why=str(error))
            await self._clock.sleep(INVENTORY_S)

    async def _mend(self) -> None:
        """Security groups are what they were told to be, from the start and also when somebody has changed the rules."""
        while True:
            try:
                await self._groups.mend()
            except _PASSING as error:
                log.warning("security_groups_not_mended", why=str(error))
            await self._clock.sleep(MEND_S)

    # ------------------------------------------------------------ who we are
    async def _ensure_joined(self, tasks: Tasks) -> None:
        while self._identity.names() is None:
            for server in self._config.servers:
                try:
                    await self._join(server, tasks)
                    return
                except (OSError, Broken, NotYet, TimeoutError) as error:
                    log.info("join_failed", server=f"{server[0]}:{server[1]}", why=str(error))
            await self._clock.sleep(1.0 + self._ids.number(1000) / 1000)

    async def _join(self, server: Address, tasks: Tasks) -> None:
        config = self._config
        if not config.token:
            raise Refused("this host has not joined a cloud yet: a token is needed (sysvm agent join)")
        if config.ca_file is not None:
            ca_pem = config.ca_file.read_text()
        else:
            ca_pem = await _in_thread(server, config.fingerprint)
        ask = link.Join(token=config.token, host=config.name, csr="", facts=await self._facts())
        await join(server, self._identity, ca_pem, ask, tasks)
        log.info("host_joined", server=f"{server[0]}:{server[1]}")

    async def _facts(self) -> link.HostFacts:
        config = self._config
        return await facts.gather(self._layout, config.name, config.underlay, self._features, self._capabilities)

    async def _hello(self) -> link.HostHello:
        names = self._identity.names()
        assert names is not None
        await asyncio.to_thread(collecting.write_down, self._layout)
        return link.HostHello(
            protocol=link.PROTOCOL,
            cloud=names.cloud,
            host=names.host,
            boot=facts.boot_id(),
            version=sysvm.__version__,
            epoch=self._memory.epoch,
            facts=await self._facts(),
        )


async def _in_thread(server: Address, fingerprint: str) -> str:
    if not fingerprint:
        raise Refused("to join, the host needs the CA's file or its fingerprint")
    return await asyncio.to_thread(pinned_ca, server, fingerprint)


@contextmanager
def _alone(layout: Layout) -> Iterator[None]:
    """No other agent works on this state folder. The lock ends with the process, however it ends."""
    with (layout.host / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refused(f"another host agent works on {layout.state}", Why.IN_USE) from None
        yield
