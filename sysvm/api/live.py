"""Settings that each request looks at, kept in memory until somebody changes a setting (on any server), or may have."""

from collections.abc import Sequence
from typing import Any

from sysvm.store.queries import settings
from sysvm.store.settings import SETTINGS, canonical
from sysvm.store.store import MISSED, Store, Tx, Wake


class Live:
    """Global values, forgotten when a commit says that a setting has changed."""

    def __init__(self, store: Store) -> None:
        self._values: dict[str, str] = {}
        self._typed: dict[str, Any] = {}
        self._changes = 0
        self._loaded = -1  # the change after which they were read
        store.on_commit(self._hear)

    def _hear(self, wakes: Sequence[Wake]) -> None:
        if any(wake == MISSED or wake[0] == settings.WAKE for wake in wakes):
            self.forget()

    def forget(self) -> None:
        """The next request reads again; until then what is known stays in use."""
        self._changes += 1

    def load(self, tx: Tx) -> None:
        """Reads them, if they are not known."""
        if self._loaded != self._changes:
            known = self._changes  # before reading: a change that is heard meanwhile makes us read once more
            self._values, self._typed = settings.stored(tx), {}
            self._loaded = known

    def __getitem__(self, name: str) -> Any:
        """A global value, typed; `load` must have been called."""
        if name not in self._typed:
            setting = SETTINGS[canonical(name)]
            self._typed[name] = setting.typed(self._values.get(setting.name, setting.default))
        return self._typed[name]
