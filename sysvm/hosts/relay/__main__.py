"""`python -m sysvm.hosts.relay --state DIR`: the relay itself. The host agent starts it (`process.py`)."""

import argparse
import asyncio

from sysvm.basics.clock import SystemClock
from sysvm.basics.limits import raise_open_files
from sysvm.hosts.layout import Layout
from sysvm.hosts.relay.files import RelayFiles
from sysvm.hosts.relay.listener import MAX_VISITORS, Relay, configure_log


def main() -> None:
    """Listens until it is killed, unless another relay of this host does."""
    parser = argparse.ArgumentParser(description="Console relay of one host; started by its host agent.")
    parser.add_argument("--state", required=True, help="state folder of the host")
    layout = Layout.of(parser.parse_args().state)
    files = RelayFiles(layout)
    if not files.take_lock():
        return
    configure_log(files)
    raise_open_files(4 * MAX_VISITORS)  # each session needs two or three
    asyncio.run(Relay(layout, SystemClock(), namespace=layout.namespace).run())


if __name__ == "__main__":
    main()
