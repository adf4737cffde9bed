"""Who does what: `@handler("createZone")` on a function of a call, `@result("deployVirtualMachine")` on the one that
renders the object of a finished job.

A handler is a plain function: it runs in one transaction and may be run again. What cannot be done inside a transaction
(hashing a password) is done before it, by an async `before`, whose result the handler finds in `call.extra`.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sysvm.api import catalogue
from sysvm.store.store import Row, Tx

if TYPE_CHECKING:
    from sysvm.api.before import Before
    from sysvm.api.call import Call, Reply

Do = Callable[["Call"], "Reply"]
Prepare = Callable[["Before"], Awaitable[Any]]
Render = Callable[[Tx, Row], dict[str, Any]]
READING = ("list", "get", "query", "find")


@dataclass(frozen=True, slots=True)
class Handler:
    """How a command is done."""

    do: Do
    reads: bool  # never writes: it runs on a snapshot
    before: Prepare | None = None


_handlers: dict[str, Handler] = {}
_results: dict[str, Render] = {}


def handler(name: str, *, reads: bool | None = None, before: Prepare | None = None) -> Callable[[Do], Do]:
    """The decorated function does command `name`. Commands that list, get, query or find only read, unless said."""
    assert name in catalogue.commands(), f"{name} is not in the catalogue"
    assert name not in _handlers, f"{name} has two handlers"

    def register(do: Do) -> Do:
        _handlers[name] = Handler(do, name.startswith(READING) if reads is None else reads, before)
        return do

    return register


def result(*names: str) -> Callable[[Render], Render]:
    """The decorated function makes the object of a finished job of these commands (without its key)."""

    def register(render: Render) -> Render:
        for name in names:
            assert name in catalogue.commands(), f"{name} is not in the catalogue"
            _results[name] = render
        return render

    return register


def find(name: str) -> Handler | None:
    """How `name` is done, if it is."""
    return _handlers.get(name)


def names() -> frozenset[str]:
    """Commands that can be called."""
    return frozenset(_handlers)


def render(name: str) -> Render | None:
    """How the result of `name` looks."""
    return _results.get(name)
