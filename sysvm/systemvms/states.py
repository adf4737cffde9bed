"""The state that the API shows of a machine: a pure function of what is wanted and what was last seen.

The rules are data, first match wins, so that the database can filter by state with the same table (queries/machine_rows
compiles it). Nothing stores a state.

A machine that cannot be looked at keeps the last fact about it; only the host says that it does not know.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Facet = Literal["removed", "gone", "stopped", "off", "on", "unknown", "given_up", "ever_ran", "destroyed", "known", "moving"]


@dataclass(frozen=True, slots=True)
class StateRule:
    """A state, and the facets that must (True) or must not (False) hold for it."""

    state: str
    needs: Mapping[Facet, bool]


# off: absent or stopped; on: running; known: its agent has spoken since it started, or it is a guest.
RULES = (
    StateRule("Expunging", {"removed": True}),
    StateRule("Expunging", {"gone": True}),
    StateRule("Destroyed", {"stopped": True, "off": True, "destroyed": True}),
    StateRule("Error", {"off": True, "given_up": True, "ever_ran": False}),
    StateRule("Stopped", {"off": True, "given_up": True}),
    StateRule("Stopped", {"stopped": True, "off": True}),
    StateRule("Stopping", {"stopped": True}),
    StateRule("Migrating", {"on": True, "moving": True}),
    StateRule("Running", {"on": True, "known": True}),
    StateRule("Unknown", {"unknown": True}),
    StateRule("Starting", {}),
)
STATES = tuple(dict.fromkeys(rule.state for rule in RULES))


@dataclass(frozen=True, slots=True)
class StateFacts:
    """What the state of a machine depends on."""

    wanted: str  # running | stopped | gone
    power: str  # wire.machines.Power, as last recorded
    is_guest: bool
    agent_known: bool = False  # connected now, or a document of it is live
    error: str = ""
    ever_ran: bool = False
    destroyed: bool = False
    removed: bool = False
    moving: bool = False  # it shall run on another host than the one it is on


def facets(facts: StateFacts) -> dict[Facet, bool]:
    """The facts as yes or no."""
    return {
        "removed": facts.removed,
        "gone": facts.wanted == "gone",
        "stopped": facts.wanted == "stopped",
        "off": facts.power in ("absent", "stopped"),
        "on": facts.power == "running",
        "unknown": facts.power == "unknown",
        "given_up": bool(facts.error),
        "ever_ran": facts.ever_ran,
        "destroyed": facts.destroyed,
        "known": facts.is_guest or facts.agent_known,
        "moving": facts.moving,
    }


def api_state(facts: StateFacts) -> str:
    """Running, Stopped, Starting, ... as CloudStack names them."""
    holds = facets(facts)
    return next(rule.state for rule in RULES if all(holds[name] == value for name, value in rule.needs.items()))


def agent_state(power: str, agent_up: bool) -> str:
    """The `agentstate` of a system VM."""
    if agent_up:
        return "Up"
    return "Connecting" if power == "starting" else "Disconnected"
