"""The first acts of a machine: its name, and its NICs under their names with their first addresses.

One `ip -batch`, because under emulation each program costs a tenth of a second. NICs are found by MAC, whatever the kernel
called them. Only adds: in a kept namespace the addresses of the last incarnation are there and stay until a document says
otherwise. Runs before asyncio is imported.
"""

import fcntl
import socket
import struct
from ipaddress import ip_interface

import msgspec

from sysvm.agent.command import CommandFailed, finish
from sysvm.agent.paths import Paths
from sysvm.basics.log import get_logger
from sysvm.wire.machines import BootData, Nic, Runtime

_SIOCGIFHWADDR = 0x8927
log = get_logger()


def read_boot_data(paths: Paths) -> BootData:
    """Who this machine is. Raises OSError or msgspec.ValidationError."""
    return msgspec.json.decode(paths.boot_data.read_bytes(), type=BootData)


def links() -> dict[str, str]:
    """MAC -> name of the interfaces of this network namespace (no /sys: it may belong to another namespace)."""
    found = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        for _, name in socket.if_nameindex():
            try:
                raw = fcntl.ioctl(handle, _SIOCGIFHWADDR, struct.pack("256s", name.encode()))
            except OSError:
                continue
            found[raw[18:24].hex(":")] = name
    return found


def renames(wanted: dict[str, str], there: dict[str, str]) -> tuple[str, ...]:
    """`ip` lines that give interfaces (MAC -> name) their wanted names, also when two have to swap."""
    wrong = [(there[mac], name) for mac, name in wanted.items() if mac in there and there[mac] != name]
    taken = set(there.values())
    lines = [f"link set dev {old} down" for old, _ in wrong]
    if any(name in taken for _, name in wrong):
        lines += [f"link set dev {old} name move{index}" for index, (old, _) in enumerate(wrong)]
        wrong = [(f"move{index}", name) for index, (_, name) in enumerate(wrong)]
    return (*lines, *(f"link set dev {old} name {name}" for old, name in wrong))


def nic_lines(nic: Nic) -> tuple[str, ...]:
    """`ip` lines that bring one NIC up with its addresses and, for the default one, its gateways."""
    device = f"eth{nic.device}"
    lines = [f"link set dev {device} mtu {nic.mtu} up"]
    lines += [f"address replace {ip_interface(text)} dev {device}{_options(text)}" for text in nic.addresses]
    if nic.default:
        lines += [f"route replace default via {gateway} dev {device}" for gateway in (nic.gateway, nic.gateway6) if gateway]
    return tuple(lines)


def _options(address: str) -> str:
    # Duplicate address detection would keep an address unusable for a second; addresses are unique by the database.
    return " nodad" if ":" in address else ""


def bring_up(boot: BootData) -> None:
    """Name and NICs of this machine. What fails is said; the agent goes on, so that it can be asked about it."""
    if socket.gethostname() != boot.hostname:
        try:
            socket.sethostname(boot.hostname)
        except OSError as error:
            log.warning("hostname_not_set", why=str(error))
    if not boot.standby or boot.apart or boot.runtime is Runtime.VM:  # else another incarnation serves in this very namespace
        bring_nics_up(boot)


def bring_nics_up(boot: BootData) -> None:
    """NICs of this machine under their names, with their first addresses."""
    there = links()
    wanted = {nic.mac.lower(): f"eth{nic.device}" for nic in boot.nics}
    for mac in sorted(wanted.keys() - there.keys()):
        log.error("nic_missing", mac=mac, device=wanted[mac])
    present = [nic for nic in boot.nics if nic.mac.lower() in there]
    lines = ["link set dev lo up", *renames(wanted, there)]
    lines += [line for nic in present for line in nic_lines(nic)]
    try:
        done = finish("ip", "-force", "-batch", "-", said="\n".join(lines) + "\n")
    except CommandFailed as error:
        log.error("nics_not_set", why=str(error))
        return
    if done.code != 0:
        log.error("nics_not_set", why=done.err.strip())
