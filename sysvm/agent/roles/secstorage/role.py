"""The document of a secondary storage VM made true: stores, name servers, the image server; and its tasks.

A download is told apart by its image: the same image asked for twice at once is fetched once, the second waits for the first.
Faults of stores are looked at each time somebody asks, so a store that comes back needs no new document.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace

import msgspec

from sysvm.agent import login
from sysvm.agent.command import CommandFailed
from sysvm.agent.roles import Context, Progress, Role
from sysvm.agent.roles.secstorage import archives, formats, health, kinds, mounting, selfcheck
from sysvm.agent.roles.secstorage.addresses import gate
from sysvm.agent.roles.secstorage.checking import CheckDoor
from sysvm.agent.roles.secstorage.checksum import parse_checksum
from sysvm.agent.roles.secstorage.copying import Copying
from sysvm.agent.roles.secstorage.deliveries import Deliveries, Doors
from sysvm.agent.roles.secstorage.fetch import Resolve, Way, resolve
from sysvm.agent.roles.secstorage.images import ImageServer
from sysvm.agent.roles.secstorage.keeping import Keeping
from sysvm.agent.roles.secstorage.looks import Looks
from sysvm.agent.roles.secstorage.mounting import Shares
from sysvm.agent.roles.secstorage.pace import Patience
from sysvm.agent.roles.secstorage.patching import Patching
from sysvm.agent.roles.secstorage.public import PublicDoors
from sysvm.agent.roles.secstorage.scrub import Scrubbing
from sysvm.agent.roles.secstorage.store import ImageStore, write_whole
from sysvm.agent.roles.secstorage.transfer import Transfer, read_order
from sysvm.agent.roles.secstorage.uploads import Uploads
from sysvm.agent.roles.serving import memory
from sysvm.agent.roles.serving.door import Door
from sysvm.agent.roles.serving.http import Site
from sysvm.agent.roles.serving.tls import BadCertificate, inner_context
from sysvm.basics.digest import digest
from sysvm.basics.errors import Refused
from sysvm.basics.log import get_logger
from sysvm.basics.tasks import Tasks
from sysvm.wire.channel import (
    CheckSelf,
    CopyImage,
    DeleteImage,
    Diagnosed,
    Download,
    Downloaded,
    Scrub,
    Scrubbed,
    ServiceSeen,
    StoreSeen,
    StoresReport,
    TakeUpload,
    TaskBody,
)
from sysvm.wire.collecting import KeepArchive
from sysvm.wire.documents import SecStorageDocument, Store, SystemVmDocument
from sysvm.wire.machines import ServiceFault

# Python's own number is five on one processor: as many downloads to a store that is dead would hold up all else.
THREADS = 64

log = get_logger()


class SecStorageRole(Role):
    """See the module."""

    def __init__(
        self,
        context: Context,
        *,
        mounts: health.Mounts = health.mount_points,
        resolve: Resolve = resolve,
        patience: Patience | None = None,
    ) -> None:
        self._context = context
        self._mounts = mounts
        self._looks = Looks(self._look, context.clock.now)
        notes = context.paths.run / "shares"
        self._shares = Shares(context.paths.stores, notes, self._is_stale, self._settled, mounts)
        self._told: tuple[StoreSeen, ...] = ()
        self._told_at = 0.0
        self._keeper: asyncio.Task[None] | None = None
        self._resolve = resolve
        self._patience = patience or Patience()
        self._document: SecStorageDocument | None = None
        self._live: SecStorageDocument | None = None
        self._faults: tuple[ServiceFault, ...] = ()
        self._stores: dict[str, ImageStore] = {}
        self._way: Way | None = None
        self._busy: dict[str, tuple[asyncio.Lock, int]] = {}
        self._server = ImageServer(lambda: self._stores, context.clock.now)
        self._deliveries = Deliveries(Doors(self._writable, self._alone), context.clock.now)
        app = self._server.app()
        self._deliveries.add_to(app)
        self._site = Site(app)
        self._door = Door(self._site.accept)
        self._uploads = Uploads(context.clock.now)
        self._public = PublicDoors(lambda: self._stores, context.clock.now, self._uploads)
        self._checks = CheckDoor(context.paths, self._check_self)

    @property
    def port(self) -> int:
        """Where hosts fetch images now."""
        return self._door.port

    @property
    def public_ports(self) -> dict[str, int]:
        """Where users download and upload now."""
        return self._public.ports

    # ------------------------------------------------------------ the role
    async def start(self, tasks: Tasks) -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS, "work"))
        memory.keep_buffers()
        await self._site.start()
        await self._public.start()
        await self._checks.open()
        self._keeper = tasks.start(self._keep_stores(), "stores")

    async def apply(self, document: SystemVmDocument) -> tuple[ServiceFault, ...]:
        if not isinstance(document, SecStorageDocument):
            raise Refused("this machine is a secondary storage VM, and the document is not one's")
        self._document = document
        faults = [*self._name_servers(document), *self._sources(document), *await self._open_door(document)]
        faults += await self._public.open(document)
        faults += await asyncio.to_thread(self._open_login, document)
        self._faults = tuple(faults)
        await self._open_stores(document)
        if not faults:
            self._live = document
        return await self.faults()

    async def live(self) -> str:
        return digest(self._live) if self._live is not None and self._live is self._document else ""

    async def faults(self) -> tuple[ServiceFault, ...]:
        return (*self._faults, *await self._store_faults())

    def services(self) -> tuple[ServiceSeen, ...]:
        note = f"{len(self._busy)} transfers"
        return (
            ServiceSeen(name="images", running=self.port > 0),
            ServiceSeen(name="public", running=any(self.public_ports.values())),
            ServiceSeen(name="downloads", running=True, note=note),
        )

    async def run_task(self, name: str, body: TaskBody, progress: Progress) -> msgspec.Struct | None:
        try:
            return await self._work(body, progress)
        except OSError as error:
            raise Refused(f"the image store cannot be used: {error.strerror}") from error

    async def _work(self, body: TaskBody, progress: Progress) -> msgspec.Struct | None:
        match body:
            case Download():
                return await self._download(body, progress)
            case TakeUpload():
                return await self._take_upload(body, progress)
            case CopyImage():
                return await self._copy(body, progress)
            case KeepArchive():
                store = await self._writable(body.store)
                async with self._alone(body.image):
                    return await asyncio.to_thread(archives.keep, store, body)
            case DeleteImage():
                await self._delete(body)
                return None
            case Scrub():
                return await self._scrub(body, progress)
            case CheckSelf():
                return await self._check_self()
            case _:
                raise Refused(f"a secondary storage VM has no such work: {type(body).__name__}")

    async def forget_task(self, name: str, body: TaskBody) -> None:
        if isinstance(body, Download | TakeUpload | CopyImage) and (store := self._stores.get(body.store)) is not None:
            async with self._alone(body.image):
                await asyncio.to_thread(store.drop_incoming, body.image)

    async def stop(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
        await self._checks.close()
        await self._public.stop()
        await self._door.close()
        await self._site.stop()

    # ------------------------------------------------------------ making it true
    def _name_servers(self, document: SecStorageDocument) -> list[ServiceFault]:
        if not document.dns:
            return []
        place = self._context.paths.root / "etc/resolv.conf"
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            write_whole(place, "".join(f"nameserver {server}\n" for server in document.dns).encode())
        except OSError as error:
            return [_fault("dns", f"{place} cannot be written: {error.strerror}", "look at the machine's disk")]
        return []

    def _sources(self, document: SecStorageDocument) -> list[ServiceFault]:
        tls = ssl.create_default_context()
        faults = []
        if document.ca:
            try:
                tls.load_verify_locations(cadata=document.ca)
            except (ssl.SSLError, ValueError) as error:
                faults.append(_fault("downloads", f"the CA cannot be read: {error}", "let the server send it anew"))
        rule = gate(document.allowed_internal, document.own_networks, self._addresses(document))
        self._way = Way(gate=rule, tls=tls, proxy=document.proxy, resolve=self._resolve)
        return faults

    def _open_login(self, document: SecStorageDocument) -> list[ServiceFault]:
        try:
            login.ensure(self._context.paths, self._context.boot, document.login)
        except (CommandFailed, OSError) as error:
            return [_fault("login", f"operators cannot log in: {error}", "look at the machine's disk")]
        return []

    def _addresses(self, document: SecStorageDocument) -> tuple[str, ...]:
        own = (address.partition("/")[0] for nic in self._context.boot.nics for address in nic.addresses)
        return tuple(filter(None, (*own, document.management_address, document.public_address)))

    def _way_to(self, document: SecStorageDocument, peer: str) -> Way:
        """To another secondary storage VM of the cloud and to nothing else that is private; a proxy is for sources outside."""
        assert self._way is not None
        rule = gate((peer,), document.own_networks, self._addresses(document))
        return replace(self._way, gate=rule, proxy=None)

    async def _open_door(self, document: SecStorageDocument) -> list[ServiceFault]:
        self._server.key = self._deliveries.key = document.ticket_key
        if document.certificate is None or not document.management_address:
            return [_fault("images", "the document brings no certificate or no address for hosts", "wait for the server")]
        try:
            context = inner_context(document.certificate)
            await self._door.open(document.management_address, document.serve_port, context)
        except BadCertificate as error:
            return [_fault("images", str(error), "let the server issue the certificate anew")]
        except OSError as error:
            where = f"port {document.serve_port} of {document.management_address}"
            return [_fault("images", f"{where} cannot be opened: {error.strerror}", "look who has it")]
        return []

    async def _open_stores(self, document: SecStorageDocument) -> None:
        now = self._context.clock.now
        self._stores = {store.store: kinds.opened(store, now) for store in document.stores}
        self._shares.want(document.stores)
        faulty = {fault.service for fault in await self._store_faults()}
        for store in document.stores:
            if f"store {store.store}" not in faulty and not store.read_only:
                await asyncio.to_thread(self._settle, self._stores[store.store])

    def _settle(self, store: ImageStore) -> None:
        try:
            store.prepare()
            if gone := store.sweep(self._context.clock.now()):
                log.info("store_swept", store=str(store.path), gone=gone)
        except OSError as error:
            log.error("store_not_settled", store=str(store.path), why=str(error))

    async def _store_faults(self) -> tuple[ServiceFault, ...]:
        wanted = self._document.stores if self._document is not None else ()
        looks = [await self._looks.at(store) for store in wanted]
        return tuple(look.fault for look in looks if look.fault is not None)

    def _look(self, store: Store) -> health.Look:
        seen = health.look(kinds.folder_of(store), self._mounts(), self._shares.why.get(store.store, ""))
        return kinds.looked(store, seen, self._context.clock.now)

    # ------------------------------------------------------------ keeping stores
    async def _keep_stores(self) -> None:
        """Shares are mounted, and whatever becomes of any store is told."""
        await asyncio.to_thread(mounting.sweep)
        while True:
            await self._shares.round()
            seen = await self._tell_stores()
            await self._shares.rest(troubled=any(each.why for each in seen))

    async def _is_stale(self, store: Store) -> bool:
        return (await self._looks.at(store)).stale

    async def _settled(self, store: Store) -> None:
        if not store.read_only and (await self._looks.at(store)).fault is None:
            await asyncio.to_thread(self._settle, kinds.opened(store, self._context.clock.now))

    async def _tell_stores(self) -> tuple[StoreSeen, ...]:
        wanted = self._document.stores if self._document is not None else ()
        seen = tuple([health.told(store, await self._looks.at(store)) for store in wanted])
        up, now = self._context.line.is_up, self._context.clock.now()
        if seen and (health.is_news(self._told, seen, up=up) or now - self._told_at >= health.TELL_AGAIN_S):
            await self._context.line.notify(StoresReport(stores=seen))
            self._told, self._told_at = seen if up else (), now
        return seen

    # ------------------------------------------------------------ tasks
    async def _download(self, body: Download, progress: Progress) -> Downloaded:
        store, document = await self._writable(body.store), self._document
        assert document is not None and self._way is not None
        order = read_order(body, document.max_bytes)
        async with self._alone(body.image):
            await asyncio.to_thread(_prepared, store)
            way = self._way_to(document, body.peer) if body.peer else self._way
            transfer = Transfer(order, store, way, self._context.clock, progress, self._patience)
            saved = await self._patched(transfer) if body.peer else 0
            return msgspec.structs.replace(await transfer.run(), saved=saved)

    async def _patched(self, transfer: Transfer) -> int:
        """Brings what stores here do not have of an image of another zone; how many bytes did not have to come."""
        if await asyncio.to_thread(transfer.keeping.known):
            return 0
        there = self._mounts()
        stores = [store for store in self._stores.values() if str(store.path) in there]
        patching = Patching(transfer.order.source, transfer.keeping, stores, transfer.way, self._patience)
        await patching.run()
        return patching.saved

    async def _take_upload(self, body: TakeUpload, progress: Progress) -> Downloaded:
        store, document = await self._writable(body.store), self._document
        assert document is not None
        fingerprint = digest(["upload", body.image, body.format, body.checksum])
        form, checksum = formats.known_format(body.format), parse_checksum(body.checksum)
        keeping = Keeping(store, body.image, form, checksum, document.max_bytes, fingerprint)
        async with self._alone(body.image):
            return await self._uploads.take(keeping, body.expires, progress)

    async def _copy(self, body: CopyImage, progress: Progress) -> Downloaded:
        source, store = self._mounted(body.source), await self._writable(body.store)
        async with self._alone(body.image):
            await asyncio.to_thread(_prepared, store)
            return await Copying(body, source, store, progress).run()

    async def _delete(self, body: DeleteImage) -> None:
        # Of a full or read-only store, too: deleting is what empties it.
        store = self._mounted(body.store)
        async with self._alone(body.image):
            await asyncio.to_thread(_removed, store, body.image)

    async def _scrub(self, body: Scrub, progress: Progress) -> Scrubbed:
        store = self._mounted(body.store)
        if body.mend:
            await self._writable(body.store)
        return await Scrubbing(store, body.mend, self._context.clock.now(), progress).run()

    async def _check_self(self) -> Diagnosed:
        document = self._document
        faults = await self.faults()
        faulty = {fault.service for fault in faults}
        whole = next((store.path for name, store in self._stores.items() if f"store {name}" not in faulty), None)
        server = await selfcheck.ask_server(self._context.line)
        return selfcheck.diagnosed(
            [
                *await selfcheck.dns(document.dns if document else ()),
                *selfcheck.stores(document.stores if document else (), faults),
                server.finding,
                selfcheck.agent(bool(await self.live()), self._faults),
                selfcheck.disk(self._context.paths.state),
                await asyncio.to_thread(selfcheck.clock, self._context.clock.now(), whole, server.now),
            ]
        )

    async def _writable(self, name: str) -> ImageStore:
        """A store that images can be brought into now."""
        store = self._known(name)
        if store.read_only:
            raise Refused("this image store is read-only")
        if (fault := (await self._looks.at(store)).fault) is not None:
            raise Refused(f"the image store cannot be used: {fault.why}")
        return self._stores[name]

    def _known(self, name: str) -> Store:
        store = next((s for s in self._document.stores if s.store == name), None) if self._document else None
        if store is None:
            raise Refused("this image store is not served here")
        return store

    def _mounted(self, name: str) -> ImageStore:
        """A store whose images are there. What is not mounted looks empty, as if everything had been deleted."""
        store = self._known(name)
        if store.path not in self._mounts():
            raise Refused(f"the image store cannot be used: {health.name_of(store)} is not mounted")
        return self._stores[name]

    @asynccontextmanager
    async def _alone(self, image: str) -> AsyncIterator[None]:
        """One piece of work per image at a time; the lock goes with its last user."""
        lock, users = self._busy.get(image) or (asyncio.Lock(), 0)
        self._busy[image] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._busy.pop(image)
            if users > 1:
                self._busy[image] = (lock, users - 1)


def _prepared(store: ImageStore) -> None:
    try:
        store.prepare()
    except OSError as error:
        raise Refused(f"the image store cannot be written: {error.strerror}") from error


def _removed(store: ImageStore, image: str) -> None:
    try:
        store.drop_incoming(image)
        store.forget(image)
    except OSError as error:
        raise Refused(f"the image store cannot be written: {error.strerror}") from error


def _fault(service: str, why: str, remedy: str) -> ServiceFault:
    return ServiceFault(service=service, why=why, remedy=remedy)
