"""ping, traceroute and arping for an operator: parameters are parsed, never handed on as they come; time is bounded."""

import asyncio
import shlex
from ipaddress import ip_address

import msgspec

from sysvm.agent.command import CommandFailed, finish
from sysvm.basics.errors import Refused
from sysvm.wire.channel import Diagnose, Diagnosed

_SECONDS = 60
_OUTPUT = 64 * 1024


class Tool(msgspec.Struct, frozen=True):
    """A program, what it is always given, and the options that a caller may set: number ranges, or None for a device."""

    program: str
    always: tuple[str, ...]
    options: dict[str, tuple[int, int] | None]


_TOOLS = {
    "ping": Tool(
        "ping",
        ("-n", "-w", "30"),
        {"-c": (1, 30), "-s": (0, 65507), "-t": (1, 255), "-i": (1, 10), "-W": (1, 10), "-I": None},
    ),
    "traceroute": Tool("traceroute", ("-n",), {"-m": (1, 64), "-q": (1, 3), "-w": (1, 5), "-p": (1, 65535), "-i": None}),
    "arping": Tool("arping", ("-w", "30"), {"-c": (1, 30), "-I": None}),
}
_DEFAULTS = {"ping": ("-c", "4"), "traceroute": (), "arping": ("-c", "4")}


def command(body: Diagnose) -> tuple[str, ...]:
    """The program's arguments. Raises Refused for anything that is not known to be harmless."""
    tool = _TOOLS.get(body.kind)
    if tool is None:
        raise Refused(f"{body.kind!r} is no diagnostic: use ping, traceroute or arping")
    try:
        address = str(ip_address(body.address))
    except ValueError:
        raise Refused(f"{body.address!r} is no IP address") from None
    try:
        words = shlex.split(body.params)
    except ValueError as error:
        raise Refused(f"the parameters {body.params!r} cannot be read: {error}") from None
    given = _options(tool, words)
    default = _DEFAULTS[body.kind]
    count = () if default[:1] and default[0] in given else default
    return (tool.program, *tool.always, *count, *given, address)


def _options(tool: Tool, words: list[str]) -> tuple[str, ...]:
    given: list[str] = []
    pairs = iter(words)
    for option in pairs:
        if option not in tool.options:
            raise Refused(f"{tool.program} takes no {option!r} here; it takes {', '.join(tool.options)}")
        value = next(pairs, "")
        limits = tool.options[option]
        if limits is None:
            if not value.isalnum() or len(value) > 15:
                raise Refused(f"{option} needs the name of an interface")
        elif not value.isdecimal() or not limits[0] <= int(value) <= limits[1]:
            raise Refused(f"{option} needs a number from {limits[0]} to {limits[1]}")
        given += (option, value)
    return tuple(given)


async def diagnose(body: Diagnose) -> Diagnosed:
    """Runs it. A tool that finds nobody ends with a code, which is a result and no failure."""
    argv = command(body)
    try:
        done = await asyncio.to_thread(finish, *argv, seconds=_SECONDS)
    except CommandFailed as error:
        raise Refused(str(error)) from error
    return Diagnosed(exit_code=done.code, stdout=done.out[:_OUTPUT], stderr=done.err[:_OUTPUT])
