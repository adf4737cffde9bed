"""The files between the host agent and the console relay: what it is to do, and that it runs.

<state>/host/relay/relay.json    address, port, grant key; written by the host agent, read again when it changes
<state>/host/relay/lock          held by the relay while it lives; its process id
<state>/host/relay/used          grants that have been shown and are not yet over
<state>/host/relay/relay.log     bounded
"""

import fcntl
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from sysvm.hosts.layout import Layout
from sysvm.hosts.system.durable import write_durably


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the relay listens and whose grants it takes."""

    address: str
    port: int
    grant_key: str


@dataclass(frozen=True, slots=True)
class RelayFiles:
    """The relay's folder."""

    layout: Layout

    @property
    def folder(self) -> Path:
        """All of it."""
        return self.layout.host / "relay"

    @property
    def settings(self) -> Path:
        """What it is to do."""
        return self.folder / "relay.json"

    @property
    def lock(self) -> Path:
        """Held while it lives."""
        return self.folder / "lock"

    @property
    def used(self) -> Path:
        """Grants that are spent."""
        return self.folder / "used"

    @property
    def log(self) -> Path:
        """What it has done."""
        return self.folder / "relay.log"

    def read(self) -> Settings | None:
        """The settings; None before the first."""
        try:
            return Settings(**json.loads(self.settings.read_bytes()))
        except FileNotFoundError:
            return None

    def write(self, settings: Settings) -> None:
        """A running relay follows within a second."""
        if self.read() != settings:
            write_durably(self.settings, json.dumps(asdict(settings)).encode())

    def take_lock(self) -> bool:
        """True when this process is the relay from now on, until it ends."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return False
        os.ftruncate(handle, 0)
        os.write(handle, f"{os.getpid()}\n".encode())
        return True  # the handle stays open: the lock is this process's life

    def holder(self) -> int | None:
        """The relay's process; None when there is none. 0 while it is just starting."""
        try:
            handle = os.open(self.lock, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return None
        except BlockingIOError:
            return int(os.read(handle, 32) or b"0")
        finally:
            os.close(handle)
