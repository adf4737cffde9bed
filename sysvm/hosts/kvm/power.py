"""libvirt's states of a domain as ours. Pure; the numbers are libvirt's ABI, so the library need not be loaded.

A machine that is paused still holds its memory and its disks: it runs, and `why` says what stands in the way.
"""

from sysvm.wire.machines import Power

_NOSTATE, _RUNNING, _BLOCKED, _PAUSED, _SHUTDOWN, _SHUTOFF, _CRASHED, _PMSUSPENDED = range(8)

_POWER = {
    _NOSTATE: Power.UNKNOWN,
    _RUNNING: Power.RUNNING,
    _BLOCKED: Power.RUNNING,
    _PAUSED: Power.RUNNING,
    _SHUTDOWN: Power.STOPPING,
    _SHUTOFF: Power.STOPPED,
    _CRASHED: Power.STOPPED,
    _PMSUSPENDED: Power.RUNNING,
}
_PAUSED_WHY = {
    5: "paused: a disk cannot be written, perhaps primary storage is full",
    8: "paused: the guest has panicked",
    11: "starting",
}
_SHUTOFF_WHY = {6: "it did not start"}
_STARTING = 11


def power_of(state: int, reason: int) -> tuple[Power, str]:
    """Power, and what stands in the way."""
    if state == _PAUSED and reason == _STARTING:
        return Power.STARTING, ""
    why = {_PAUSED: _PAUSED_WHY.get(reason, "paused"), _SHUTOFF: _SHUTOFF_WHY.get(reason, ""), _CRASHED: "crashed"}
    return _POWER.get(state, Power.UNKNOWN), why.get(state, "")
