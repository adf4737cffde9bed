"""What all services of a router share: the steps, and how each says that it cannot take one.

`render` is pure. `apply` and `difference` block (programs, files) and are called from one thread, one service at a time.
A service that fails in `render` or `apply` has left its old state live.
"""

import os
import re
import socket
from collections.abc import Hashable
from ipaddress import AddressValueError, IPv4Interface, IPv4Network, IPv6Network, NetmaskValueError
from typing import Any, Protocol, runtime_checkable

from sysvm.agent.command import CommandFailed
from sysvm.wire.channel import ServiceSeen
from sysvm.wire.documents import RouterDocument

TUN = "/dev/net/tun"
_MAC = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}")
_DEVICE = re.compile(r"[a-z][a-z0-9._-]{0,14}")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")


class Wrong(Exception):
    """The document says something that this service cannot make true; nothing of it has been applied."""

    def __init__(self, why: str, remedy: str = "") -> None:
        super().__init__(why)
        self.why = why
        self.remedy = remedy


class Service(Protocol):
    """One service. `rendering` is whatever its `render` gave."""

    name: str

    def render(self, document: RouterDocument) -> Any:
        """The document's part as files, rules or addresses. Raises Wrong."""

    def apply(self, rendering: Any) -> None:
        """Makes it live; what is already live is not touched. Raises CommandFailed or OSError."""

    def difference(self, rendering: Any) -> str:
        """How kernel and daemons differ from it, in words; empty when they do not."""

    def fingerprint(self) -> Hashable:
        """Changes when what `difference` looks at may have changed; costs less than a millisecond."""

    def daemons(self) -> tuple[ServiceSeen, ...]:
        """Processes of this service that should run."""

    def stop(self) -> None:
        """The machine ends."""


@runtime_checkable
class Staged(Protocol):
    """A service that can make itself ready beside another incarnation that serves in the same network namespace."""

    def stage(self, rendering: Any) -> None:
        """Checks and prepares; changes nothing that the other one could notice. Raises CommandFailed or OSError."""


@runtime_checkable
class Resting(Protocol):
    """A service that does not end with all that it carries when another incarnation takes over."""

    def rest(self) -> None:
        """Takes nothing new; what it carries goes on to its end."""

    def carries(self) -> bool:
        """Whether that end has not come yet."""


@runtime_checkable
class Leaving(Protocol):
    """A service that lets another machine serve before anything here ends."""

    def leave(self) -> None:
        """The other one is told. Raises CommandFailed or OSError."""


@runtime_checkable
class Hidden(Protocol):
    """A service that has to do something when ports are opened behind which it has seen nobody, and nobody has seen it."""

    def show(self, rendering: Any) -> None:
        """Neighbours are told, and who was not reached is asked anew. Raises CommandFailed or OSError."""


def mac(text: str, where: str) -> str:
    """A MAC in lower case."""
    if not _MAC.fullmatch(text.lower()):
        raise Wrong(f"{where}: {text!r} is no MAC address", "give six pairs of hexadecimal digits")
    return text.lower()


def device(text: str, where: str) -> str:
    """The name of an interface."""
    if not _DEVICE.fullmatch(text):
        raise Wrong(f"{where}: {text!r} is no interface name", "give a name such as eth0")
    return text


def hostname(text: str, where: str) -> str:
    """A host or domain name in lower case, without a dot at its end."""
    name = text.lower().removesuffix(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise Wrong(f"{where}: {text!r} is no host name", "use letters, digits and hyphens")
    return name


def address(text: str, where: str) -> str:
    """An IPv4 address in its usual form."""
    # Ten times as fast as the ipaddress module; there may be 50,000 of them in a document.
    try:
        return socket.inet_ntoa(socket.inet_pton(socket.AF_INET, text))
    except (OSError, ValueError):
        raise Wrong(f"{where}: {text!r} is no IPv4 address", "give four numbers with dots") from None


def address6(text: str, where: str) -> str:
    """An IPv6 address in its usual form."""
    try:
        return socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, text))
    except (OSError, ValueError):
        raise Wrong(f"{where}: {text!r} is no IPv6 address", "give it as 2001:db8::1") from None


def interface(text: str, where: str) -> IPv4Interface:
    """An IPv4 address with its prefix."""
    try:
        return IPv4Interface(text)
    except (AddressValueError, NetmaskValueError, ValueError):
        raise Wrong(f"{where}: {text!r} is no IPv4 address with a prefix", "give it as 10.1.1.1/24") from None


def network(text: str, where: str) -> IPv4Network:
    """An IPv4 network; bits after the prefix are ignored, as CloudStack does."""
    try:
        return IPv4Network(text, strict=False)
    except (AddressValueError, NetmaskValueError, ValueError):
        raise Wrong(f"{where}: {text!r} is no IPv4 network", "give it as 10.1.1.0/24") from None


def network6(text: str, where: str) -> IPv6Network:
    """An IPv6 network; bits after the prefix are ignored."""
    try:
        return IPv6Network(text, strict=False)
    except (AddressValueError, NetmaskValueError, ValueError):
        raise Wrong(f"{where}: {text!r} is no IPv6 network", "give it as 2001:db8:1:2::/64") from None


def need_tun(program: str) -> None:
    """It can make an interface of its own. Without this node charon dies at each start and does not say why.

    Raises CommandFailed, which does.
    """
    try:
        os.close(os.open(TUN, os.O_RDWR))
    except OSError as error:
        raise CommandFailed(program, f"cannot open {TUN}: {error.strerror}") from None
