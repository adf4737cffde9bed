"""`python -m sysvm.hosts run|down|drops`: the host agent without the rest of the program."""

import argparse
import asyncio
import socket
import sys
from pathlib import Path

import uvloop

from sysvm.basics.errors import NotYet, Refused, leaves
from sysvm.basics.log import configure
from sysvm.hosts.agent import HostConfig, run_host
from sysvm.hosts.down import remove_everything
from sysvm.hosts.layout import Layout
from sysvm.hosts.network import HostNetwork


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sysvm.hosts", description=__doc__)
    parser.add_argument("do", choices=("run", "down", "drops"))
    parser.add_argument("--state", type=Path, required=True, help="state folder of this host")
    parser.add_argument("--server", action="append", default=[], metavar="ADDRESS:PORT", help="management server (repeatable)")
    parser.add_argument("--name", default=socket.gethostname())
    parser.add_argument("--token", default="", help="one-time token, for the first contact")
    parser.add_argument("--fingerprint", default="", help="SHA-256 of the cloud's CA, for the first contact")
    parser.add_argument("--ca-file", type=Path, help="the CA itself, instead of its fingerprint")
    parser.add_argument("--uplink", help="interface to plug into the public bridge")
    parser.add_argument("--management-link", help="interface to plug into the management bridge")
    parser.add_argument("--underlay-link", help="interface that leads to other hosts")
    parser.add_argument("--underlay", default="", metavar="ADDRESS/PREFIX", help="this host's address on it")
    return parser


def _config(words: argparse.Namespace) -> HostConfig:
    return HostConfig(
        state=words.state,
        name=words.name,
        servers=tuple(map(_address, words.server)) or (("127.0.0.1", 8250),),
        token=words.token,
        fingerprint=words.fingerprint,
        ca_file=words.ca_file,
        uplink=words.uplink,
        management_link=words.management_link,
        underlay_link=words.underlay_link,
        underlay=words.underlay,
    )


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


async def _drops(layout: Layout) -> None:
    for port, reasons in sorted((await HostNetwork(layout).guard_drops()).items()):
        print(port, *(f"{reason}={count}" for reason, count in sorted(reasons.items())))


def main() -> int:
    """The command; its exit code."""
    words = _parser().parse_args()
    configure()
    code = 0
    try:
        match words.do:
            case "run":
                uvloop.run(run_host(_config(words)))
            case "down":
                asyncio.run(remove_everything(Layout.of(words.state)))
            case "drops":
                asyncio.run(_drops(Layout.of(words.state)))
    except* (Refused, NotYet) as errors:
        for error in leaves(errors):
            print(error, file=sys.stderr)
        code = 1
    except* KeyboardInterrupt:
        code = 0
    return code


if __name__ == "__main__":
    sys.exit(main())
