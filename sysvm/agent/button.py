"""The power button of a VM: a service that stops the machine in good order when its host presses it.

The agent links it in a little after its own start, for its programs and drivers cost an emulated machine half a second, which
whoever waits for that machine would wait, too. A host presses again until the machine has ended, so nothing is missed.
"""

import asyncio

from sysvm.agent.command import CommandFailed
from sysvm.agent.paths import Paths
from sysvm.agent.supervision import Daemon, Supervision
from sysvm.basics.clock import Clock
from sysvm.basics.log import get_logger
from sysvm.wire.machines import BootData, Runtime

BUTTON = Daemon("power-button", "#!/bin/sh\nexec nice -n 19 /usr/lib/sysvm/power-button\n")
_AFTER_S = 5.0
log = get_logger()


async def heed_power_button(paths: Paths, boot: BootData, clock: Clock) -> None:
    """The service runs, if this is a VM. What fails is said; the host ends a machine that does not hear it all the same."""
    if boot.runtime is not Runtime.VM:
        return
    await clock.sleep(_AFTER_S)
    if (paths.scan / BUTTON.name).is_dir():  # a template from before that has it from the start, or our last life linked it
        return
    try:
        await asyncio.to_thread(Supervision(paths).ensure, BUTTON)
    except CommandFailed as error:
        log.warning("power_button_not_heard", why=str(error))
