"""User data and metadata (Apache, port 80) and passwords (our own small server, port 8080) on the guest addresses.

What a guest gets is decided by the address that it asks from: Apache rewrites every path into that guest's folder, and an
address without a folder is refused; so is a request for a name that is not the router's, with which a page in a guest's browser
would come (DNS rebinding). A change of guests is a change of files; Apache is started again only when it shall
listen elsewhere. Passwords that a guest has taken leave their mark on the state disk (`services/passwords.py`) and are
not written again, whatever the document still says. Folders are readable by the one server that needs them.

Races: files of one guest are replaced one by one, so a guest that crawls its metadata during a change may see old and new
keys; each file is whole.
"""

import grp
import os
import re
import shutil
import socket
import sys
import time
from collections.abc import Callable, Hashable
from pathlib import Path

import msgspec

from sysvm.agent.paths import Paths
from sysvm.agent.roles.router.service import Wrong, address
from sysvm.agent.seal import Seal
from sysvm.agent.services import passwords as password_server
from sysvm.agent.supervision import Daemon, Supervision, write_if_changed
from sysvm.wire.channel import ServiceSeen
from sysvm.wire.documents import GuestData, RouterDocument

WEB, PASSWORDS = "apache2", "passwords"
DATA_SERVER = "data-server"  # the name that guests' tools know
MAX_USERDATA = 1024 * 1024
_MODULES = Path("/usr/lib/apache2/modules")
_KEY = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_PASSWORD_UID = 65001  # of nobody else
_PATIENCE_S, _PAUSE = 10.0, 0.02  # a server whose address is not there never answers

_APACHE = """\
ServerRoot {folder}
ServerName metadata
PidFile {folder}/apache.pid
DefaultRuntimeDir {folder}
ErrorLog /dev/stderr
LogLevel warn rewrite:crit
User www-data
Group www-data
{listen}
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule reqtimeout_module {modules}/mod_reqtimeout.so
LoadModule rewrite_module {modules}/mod_rewrite.so
StartServers 1
ServerLimit 2
ThreadsPerChild 32
MaxRequestWorkers 64
MinSpareThreads 1
MaxSpareThreads 64
RequestReadTimeout header=5 body=5
Timeout 10
KeepAliveTimeout 2
LimitRequestBody 1024
LimitRequestFields 50
TraceEnable off
ServerTokens Prod
ServerSignature Off
EnableMMAP off
EnableSendfile off
FileETag None
DocumentRoot {folder}/guests
<Directory />
    AllowOverride None
    Require all denied
</Directory>
<Directory {folder}/guests>
    ForceType text/plain
    <LimitExcept GET HEAD>
        Require all denied
    </LimitExcept>
    Require all granted
</Directory>
RewriteEngine On
RewriteCond %{{HTTP_HOST}} !^({names})?(:80)?$ [NC]
RewriteRule ^ - [F]
RewriteCond {folder}/guests/%{{REMOTE_ADDR}} !-d
RewriteRule ^ - [F]
RewriteRule ^/?$ {folder}/guests/%{{REMOTE_ADDR}}/versions [L]
RewriteRule ^/latest/?$ {folder}/guests/%{{REMOTE_ADDR}}/latest [L]
RewriteRule ^/latest/user-data/?$ {folder}/guests/%{{REMOTE_ADDR}}/user-data [L]
RewriteRule ^/latest/meta-data/?$ {folder}/guests/%{{REMOTE_ADDR}}/keys [L]
RewriteRule ^/latest/(?:meta-data/)?([a-z0-9-]+)/?$ {folder}/guests/%{{REMOTE_ADDR}}/meta-data.$1 [L]
RewriteRule ^ - [R=404,L]
"""


class Guest(msgspec.Struct, frozen=True):
    """The files of one guest, and the password it has not been told yet."""

    address: str
    files: tuple[tuple[str, bytes], ...]
    password: str | None


class Served(msgspec.Struct, frozen=True):
    """Everything that is served, and where."""

    listen: tuple[str, ...]
    guests: tuple[Guest, ...]
    names: tuple[str, ...]  # under which guests ask; any other name was made to point here by somebody else
    probes: tuple[str, ...]  # those of `listen` that this router has for sure


def guest_files(data: GuestData) -> Guest:
    """What one guest is served. Raises Wrong."""
    asker = address(data.address, "metadata")
    where = f"metadata of {asker}"
    if len(data.userdata) > MAX_USERDATA:
        raise Wrong(f"{where}: user data of {len(data.userdata)} bytes", f"at most {MAX_USERDATA}")
    for key in data.metadata:
        if not _KEY.fullmatch(key):
            raise Wrong(f"{where}: {key!r} is no key", "small letters, digits and hyphens")
    if data.password is not None and (not data.password.isprintable() or len(data.password) > 256):
        raise Wrong(f"{where}: a password with control characters or longer than 256", "set another one")
    keys = sorted(data.metadata)
    files = {
        "versions": b"latest\n",
        "latest": b"meta-data/\nuser-data\n",
        "user-data": data.userdata,
        "keys": "".join(f"{key}\n" for key in keys).encode(),
        **{f"meta-data.{key}": data.metadata[key].encode() for key in keys},
    }
    return Guest(asker, tuple(sorted(files.items())), data.password or None)


def render(document: RouterDocument, files_of: Callable[[GuestData], Guest] = guest_files) -> Served | None:
    """What the document wants to be served; None for nothing. Raises Wrong."""
    wanted = document.metadata
    if wanted is None:
        return None
    listen = tuple(address(each, "metadata") for each in wanted.listen)
    probes = listen
    if document.redundancy is not None:  # the gateway may be the other one's
        probes = (address(document.redundancy.own, "redundancy"),)
        listen += probes
    if not listen:
        raise Wrong("metadata has no address to listen on", "name the router's guest address")
    guests = tuple(map(files_of, wanted.guests))
    if len({each.address for each in guests}) < len(guests):
        raise Wrong("two guests have the same address in metadata", "name each once")
    return Served(listen, guests, _names(document, listen), probes)


def _names(document: RouterDocument, listen: tuple[str, ...]) -> tuple[str, ...]:
    domain = document.dns.domain if document.dns is not None else ""
    return (*listen, DATA_SERVER, *([f"{DATA_SERVER}.{domain}"] if domain else []))


class Metadata:
    """The service: two daemons and their folders."""

    name = "metadata"

    def __init__(self, paths: Paths, supervision: Supervision, seal: Seal) -> None:
        self._folder = paths.run / "metadata"
        self._secrets = paths.run / "passwords"
        self._delivered = paths.state / "delivered"
        self._supervision = supervision
        self._seal = seal
        self._written: dict[str, Guest] = {}
        self._rendered: dict[str, tuple[GuestData, Guest]] = {}
        self._looked_at: Served | None = None  # what the last look has found to be there

    def render(self, document: RouterDocument) -> Served | None:
        """What is to be served. Raises Wrong. Of thousands of guests most are as they were."""
        served = render(document, self._files_of)
        guests = document.metadata.guests if document.metadata is not None else ()
        self._rendered = {data.address: self._rendered[data.address] for data in guests}
        return served

    def _files_of(self, data: GuestData) -> Guest:
        known = self._rendered.get(data.address)
        if known is None or known[0] != data:
            known = self._rendered[data.address] = (data, guest_files(data))
        return known[1]

    def stage(self, rendering: Served | None) -> None:
        """The guests' folders: when it takes over, the servers only have to be started."""
        if rendering is not None:
            self._write_guests(rendering.guests)

    def apply(self, rendering: Served | None) -> None:
        """Folders first, so that a guest never meets a server without its files; then the servers."""
        if rendering is None:
            self._remove()
            return
        self._write_guests(rendering.guests)
        self._write_passwords(rendering.guests)
        changed = write_if_changed(self._folder / "apache.conf", self._config(rendering).encode())
        before = self._supervision.pid(WEB)
        self._supervision.ensure(Daemon(WEB, self._web_script()))
        if changed and before and before == self._supervision.pid(WEB):
            self._supervision.restart(WEB)
        self._supervision.ensure(Daemon(PASSWORDS, self._password_script(rendering.listen)))
        end = time.monotonic() + _PATIENCE_S
        while self._unanswered(rendering) and time.monotonic() < end:
            time.sleep(_PAUSE)

    def difference(self, rendering: Served | None) -> str:
        """Folders and servers against what is wanted. After a change, what was looked at before it and is wanted as it was
        is not read again; when the same is asked once more, everything is."""
        before, self._looked_at = self._looked_at, None
        known = () if before is None or before is rendering else before.guests
        words = self._difference(rendering, {guest.address: guest for guest in known})
        self._looked_at = None if words else rendering
        return words

    def _difference(self, rendering: Served | None, known: dict[str, Guest]) -> str:
        if rendering is None:
            there = [name for name in (WEB, PASSWORDS) if self._supervision.pid(name)]
            return f"{there[0]} runs" if there else ("files are left" if self._folder.exists() else "")
        wanted = {guest.address: guest for guest in rendering.guests}
        there_now = _names_in(self._folder / "guests")
        if wanted.keys() != there_now:
            return f"folders differ for {', '.join(sorted(wanted.keys() ^ there_now)[:3])}"
        for guest in rendering.guests:
            if known.get(guest.address) != guest and not self._is_written(guest):
                self._written.pop(guest.address, None)
                return f"the files of {guest.address} differ"
        if self._read(self._folder / "apache.conf") != self._config(rendering):
            return "Apache's configuration differs"
        if self._unwanted_passwords(rendering.guests):
            return "passwords differ"
        return self._unanswered(rendering)

    def fingerprint(self) -> Hashable:
        """The processes, and the times of folders and configuration."""
        places = (self._folder, self._folder / "guests", self._folder / "apache.conf", self._secrets)
        times = [place.stat().st_mtime_ns for place in places if place.exists()]
        return self._supervision.pid(WEB), self._supervision.pid(PASSWORDS), *times

    def daemons(self) -> tuple[ServiceSeen, ...]:
        """Apache and the password server."""
        if not self._folder.exists():
            return ()
        return self._supervision.seen(WEB), self._supervision.seen(PASSWORDS)

    def stop(self) -> None:
        """Ends both servers."""
        self._supervision.stop(PASSWORDS)
        self._supervision.stop(WEB)

    # ------------------------------------------------------------ files
    def _write_guests(self, guests: tuple[Guest, ...]) -> None:
        root = self._folder / "guests"
        root.mkdir(parents=True, exist_ok=True)
        for folder in (self._folder, root):
            os.chown(folder, 0, _web_group())
            folder.chmod(0o750)
        wanted = {guest.address for guest in guests}
        there = _names_in(root)
        for name in there - wanted:
            shutil.rmtree(root / name)
            self._written.pop(name, None)
        for guest in guests:
            if guest.address not in there:
                self._make_guest(root / guest.address, guest)
            elif self._written.get(guest.address) != guest:
                self._write_guest(root / guest.address, guest)

    def _make_guest(self, folder: Path, guest: Guest) -> None:
        """All files of a new guest in one step: a network of thousands has tens of thousands of them."""
        new = folder.with_name(f".{folder.name}.new")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        for name, data in guest.files:
            with (new / name).open("xb", buffering=0) as file:
                os.fchmod(file.fileno(), 0o644)
                file.write(data)
        new.rename(folder)
        self._written[guest.address] = guest

    def _write_guest(self, folder: Path, guest: Guest) -> None:
        names = {name for name, _ in guest.files}
        for path in folder.iterdir():
            if path.name not in names:
                path.unlink()
        for name, data in guest.files:
            write_if_changed(folder / name, data)
        self._written[guest.address] = guest

    def _is_written(self, guest: Guest) -> bool:
        folder = self._folder / "guests" / guest.address
        try:
            return {path.name: path.read_bytes() for path in folder.iterdir()} == dict(guest.files)
        except OSError:
            return False

    # ------------------------------------------------------------ passwords
    def _untold(self, guests: tuple[Guest, ...]) -> dict[str, str]:
        """Address -> file, of passwords that have not been taken."""
        files = {}
        for guest in guests:
            if guest.password is not None:
                mark = self._seal.mark("password", guest.address, guest.password)
                if self._read(self._delivered / guest.address) != mark:
                    files[guest.address] = f"{mark}\n{guest.password}\n"
        return files

    def _unwanted_passwords(self, guests: tuple[Guest, ...]) -> bool:
        there = {path.name: self._read(path) for path in self._secrets.glob("[0-9]*")}
        return there != self._untold(guests)

    def _write_passwords(self, guests: tuple[Guest, ...]) -> None:
        for folder in (self._secrets, self._delivered):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o700)
            os.chown(folder, _PASSWORD_UID, _PASSWORD_UID)
        # The password server walks through the state disk, which is root's: it must not look around there.
        self._delivered.parent.chmod(0o711)
        addresses = {guest.address for guest in guests if guest.password is not None}
        for path in self._delivered.iterdir():
            if path.name not in addresses:
                path.unlink()
        untold = self._untold(guests)
        for path in self._secrets.glob("[0-9]*"):
            if path.name not in untold:
                path.unlink(missing_ok=True)
        for name, text in untold.items():
            path = self._secrets / name
            if self._read(path) != text:
                new = self._secrets / f".{name}"
                new.unlink(missing_ok=True)
                with open(new, "x", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
                    file.write(text)
                os.chown(new, _PASSWORD_UID, _PASSWORD_UID)
                new.replace(path)

    # ------------------------------------------------------------ servers
    def _remove(self) -> None:
        self._supervision.remove(PASSWORDS)
        self._supervision.remove(WEB)
        for folder in (self._folder, self._secrets, self._delivered):
            shutil.rmtree(folder, ignore_errors=True)
        self._written.clear()

    def _config(self, rendering: Served) -> str:
        listen = "\n".join(f"Listen {each}:80" for each in rendering.listen)
        names = "|".join(map(re.escape, rendering.names))
        return _APACHE.format(folder=self._folder, modules=_MODULES, listen=listen, names=names)

    def _web_script(self) -> str:
        # A killed Apache leaves its pid file behind and would refuse to start if another process had that number.
        remove = f"rm -f {self._folder}/apache.pid"
        return f"#!/bin/sh\n{remove}\nexec apache2 -d {self._folder} -f apache.conf -X\n"

    def _password_script(self, listen: tuple[str, ...]) -> str:
        program = f"{sys.executable or 'python3'} -I -S -B {Path(password_server.__file__).resolve()}"
        places = f"{self._secrets} {self._delivered}"
        return f"#!/bin/sh\nexec {program} 8080 {_PASSWORD_UID} {places} {' '.join(listen)}\n"

    def _unanswered(self, rendering: Served) -> str:
        """Which door nobody has opened; empty when all are open."""
        for each in rendering.probes:
            for name, port in ((WEB, 80), (PASSWORDS, 8080)):
                if not self._supervision.pid(name):
                    return f"{name} does not run"
                try:
                    socket.create_connection((each, port), timeout=1.0).close()
                except OSError:
                    return f"{name} does not answer on {each}"
        return ""

    def _read(self, path: Path) -> str:
        try:
            return path.read_text()
        except OSError:
            return ""


def _web_group() -> int:
    try:
        return grp.getgrnam("www-data").gr_gid
    except KeyError:
        raise OSError("there is no group www-data") from None


def _names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()
