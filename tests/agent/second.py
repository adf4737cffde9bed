"""`python -m tests.agent.second FOLDER`: the load balancer of a second incarnation, in the namespace where this is run.

Reads documents of a router (JSON, one a line), stages each, and says "staged" or why not.
"""

import sys
from pathlib import Path

import msgspec

from sysvm.agent.command import CommandFailed
from sysvm.agent.paths import Paths
from sysvm.agent.roles.router.haproxy import Haproxy
from sysvm.agent.roles.router.service import Wrong
from sysvm.agent.supervision import Supervision
from sysvm.wire.documents import RouterDocument


def main(folder: str) -> None:
    """Until there is no further document; what was staged goes on."""
    paths = Paths(Path(folder))
    service = Haproxy(paths, Supervision(paths))
    for line in sys.stdin:
        try:
            service.stage(service.render(msgspec.json.decode(line, type=RouterDocument)))
        except (Wrong, CommandFailed, OSError) as error:
            print(error, flush=True)
        else:
            print("staged", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
