"""Into a secondary storage VM of the demo as an operator."""

import subprocess

from sysvm.cli.files import LOGIN_KEY_FILE
from tests.boot.world import World


def ssh(demo: World, *words: str, key: bool = True) -> subprocess.CompletedProcess[str]:
    """A command inside the secondary storage VM, over its control NIC, as its host reaches it."""
    (machine,) = demo.client.rows("listSystemVms", "systemvm", systemvmtype="secondarystoragevm")
    shown = ["-i", str(demo.state / "server" / LOGIN_KEY_FILE)] if key else []
    options = ["BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR",
               "IdentitiesOnly=yes"]  # fmt: skip
    return subprocess.run(
        ["ip", "netns", "exec", demo.layout.namespace, "ssh", *shown, "-p", "3922",
         *(word for option in options for word in ("-o", option)), f"root@{machine['linklocalip']}", *words],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
