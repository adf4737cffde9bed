"""The brake on healing: when many things look dead at once, it is rather the looking that is broken. Pure.

What a host says is believed, one machine at a time (systemvms.machine). That is wrong when a storage fails under all hosts,
when a new version of something takes everything for gone, or when half of a zone cannot be reached: then healing would start
hundreds of machines a second time. So there is a share of a zone (setting heal.brake.share; 0: no brake) above which healing
stops, and an operator is asked.

What is no healing, and goes on: whatever somebody asks for (a deployment, a restart, a new incarnation), and what has better
evidence than a look: a host with a new boot id has ended everything that ran before.

Hosts that cannot be reached say nothing about those that can. So they only hold up what would be made anew elsewhere, and
only when there are several of them: a single one is one thing that looks dead, not many. What an operator gives up
(deleteHost forced) looks dead to nobody: it is.
"""

from dataclasses import dataclass
from enum import StrEnum

from sysvm.systemvms.machine import Drop, PlacementAct, PlacementSeen, Prepare, Start, Stop

WINDOW_S = 300.0  # what died and was healed within it counts
AGAIN_S = 30.0  # until what the brake holds up is looked at again
SILENT_S = 60.0  # an agent that is away for so long; sooner than its machine is killed for it
FEWEST = 10  # fewer are not many, whatever their share: one host with a handful of machines heals
FEWEST_HOSTS = 2


class Brake(StrEnum):
    """Which healing has stopped."""

    OFF = ""
    ELSEWHERE = "elsewhere"  # nothing is made anew on another host
    EVERYWHERE = "everywhere"  # nothing that died is started again, either


@dataclass(frozen=True, slots=True)
class Health:
    """How a zone looks."""

    machines: int  # that are placed
    died: int  # lately, or not healed yet, or with a silent agent; on hosts that can be reached
    away: int  # on hosts that cannot
    away_hosts: int


def brake(health: Health, share: float) -> Brake:
    """Which healing has to stop."""
    if share <= 0:
        return Brake.OFF
    if _are_many(health.died, health, share):
        return Brake.EVERYWHERE
    away = health.away if health.away_hosts >= FEWEST_HOSTS else 0
    return Brake.ELSEWHERE if _are_many(health.died + away, health, share) else Brake.OFF


def _are_many(dead: int, health: Health, share: float) -> bool:
    return dead >= FEWEST and dead > share * health.machines


def why(health: Health, share: float) -> str:
    """What an operator is told about a brake that is on."""
    seen = []
    if health.died:
        seen.append(f"{health.died} died within {WINDOW_S / 60:.0f} minutes, or are still dead, or their agents are silent")
    if health.away and health.away_hosts >= FEWEST_HOSTS:
        seen.append(f"{health.away} are on {health.away_hosts} hosts that cannot be reached")
    return f"of {health.machines} machines {' and '.join(seen)}, which is more than a share of {share:g}"


# ---------------------------------------------------------------- what is healing
def is_revival(act: PlacementAct, *, lived: bool) -> bool:
    """Whether the act gives a machine that lived, and was not asked to end, another life on its host. Only for placements
    that are wanted running."""
    return lived and isinstance(act, Prepare | Start | Stop)


def is_rebuilding(step: object, wanted: str, incarnation: int, placements: tuple[PlacementSeen, ...]) -> bool:
    """Whether the step lets a machine be made anew elsewhere because its host is lost."""
    if wanted != "running" or not isinstance(step, Drop):
        return False
    dropped = next(placement for placement in placements if placement.id == step.placement)
    lived = dropped.incarnation == incarnation and dropped.settled > 0 and dropped.wanted not in ("incoming", "gone")
    return dropped.host_lost and lived
