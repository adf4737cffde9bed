"""Before a console proxy ends (reboot, patch, move, destroy, retirement), its sessions go on with another proxy.

A secondary storage VM takes no more commands then, and ends those that it has as long as others serve and they are few moments
from done; what is cut off is taken up by another one, or by its own next incarnation, where it stopped.

Consulted by the machine's turn with the step that it is about to take. Races thought of: a session may begin between this
look and the step (the page then attaches again by itself); the others may vanish meanwhile (then nobody is waited for).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from sysvm.store import tables
from sysvm.store.queries import consoles, fleets
from sysvm.store.store import Row, Tx
from sysvm.systemvms import consoleproxy
from sysvm.systemvms.consoleproxy import Emptying
from sysvm.systemvms.machine import Tell, Wait
from sysvm.wire.machines import Kind

S = TypeVar("S")
LOOK_S = 0.5
EMPTYING: dict[Kind, tuple[Callable[[Tx, Row], Emptying], str]] = {
    Kind.CONSOLE_PROXY: (consoles.emptying, "its console sessions are moving to another proxy"),
    Kind.SECONDARY_STORAGE: (fleets.emptying, "its commands are coming to their end"),
}


@dataclass(frozen=True, slots=True)
class Drain:
    """Ask the pages of a proxy to go on elsewhere, and look again."""

    machine: int


def first(tx: Tx, machine: Row, step: S) -> S | Drain | Wait:
    """The step, or what comes before it."""
    if machine.kind not in EMPTYING or not _ends(tx, step):
        return step
    look, why = EMPTYING[Kind(machine.kind)]
    match consoleproxy.drain(look(tx, machine), tx.now):
        case "begin":
            return Drain(machine.id)
        case "wait":
            return Wait(LOOK_S, why)
        case "go":
            return step


def _ends(tx: Tx, step: object) -> bool:
    """Whether a placement that was to run is not to run any more."""
    if not isinstance(step, Tell) or step.wanted == "running":
        return False
    placement = tx.get(tables.placement, step.placement)
    return placement is not None and placement.wanted == "running"
