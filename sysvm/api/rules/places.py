"""Words of places: allocation states, hypervisors, network domains, URLs of hosts."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from sysvm.basics.errors import Refused

HYPERVISORS = ("KVM", "LXC", "Simulator")  # VMware exists as a class of the simulator
_by_lower = {name.lower(): name for name in (*HYPERVISORS, "VMware")}
ALLOCATION_STATES = ("Enabled", "Disabled")
_label = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_domain = re.compile(rf"{_label}(\.{_label})*")
_simulated = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,200}")
_host = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,252}[A-Za-z0-9])?|\[?[0-9a-fA-F:.]+\]?")


@dataclass(frozen=True, slots=True)
class HostUrl:
    """Where a host is to be reached."""

    address: str
    port: int | None


def allocation_state(text: str | None, default: str) -> str:
    """Enabled or Disabled, in whatever casing it came."""
    if not text:
        return default
    if text.capitalize() not in ALLOCATION_STATES:
        raise Refused(f"Unable to resolve Allocation State '{text}' to a supported state: Enabled or Disabled")
    return text.capitalize()


def hypervisor(text: str, *, simulated: bool = False) -> str:
    """The hypervisor's proper name. VMware is simulated only, so it must be said."""
    name = _by_lower.get(text.strip().lower())
    if name is None:
        raise Refused(f"The hypervisor {text!r} is not supported; supported are {', '.join(HYPERVISORS)}")
    if name == "VMware" and not simulated:
        raise Refused("VMware exists in the simulator only; use hypervisor KVM, LXC or Simulator")
    return name


def network_domain(text: str | None) -> str:
    """A DNS suffix, or an empty string."""
    name = (text or "").strip().rstrip(".").lower()
    if name and (len(name) > 190 or not _domain.fullmatch(name)):
        raise Refused(
            f"Invalid network domain {text!r}: labels of letters, digits and hyphens, parted by dots, at most 190 characters"
        )
    return name


def name(text: str, what: str) -> str:
    """A name that is not empty and not only blanks."""
    stripped = text.strip()
    if not stripped:
        raise Refused(f"Please give the {what} a name")
    return stripped


def host_url(text: str) -> HostUrl:
    """http://name-or-address[:port] as addHost takes it; a bare name will do."""
    parts = urlsplit(text if "://" in text else f"http://{text}")
    if parts.scheme.lower() not in ("http", "https", "ssh"):
        raise Refused(f"The host's url must look like http://<name or address>; {text!r} does not")
    if parts.username is not None or parts.password is not None:
        raise Refused("The host's url must not hold credentials; use username and password")
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or not _host.fullmatch(host) or parts.path not in ("", "/") or parts.query:
        raise Refused(f"The host's url must look like http://<name or address>; {text!r} does not")
    return HostUrl(host, port)


def simulated_address(text: str) -> str:
    """http://sim/c0/h0 or any other name of a simulated host, which nobody connects to."""
    address = text.partition("://")[2] or text
    address = address.strip().strip("/")
    if not address or not _simulated.fullmatch(address):
        raise Refused(f"The simulated host's url must look like http://sim/<name>; {text!r} does not")
    return address


def tags(values: object) -> str:
    """A list of tags as the comma separated text that rows hold, each once, in order."""
    if isinstance(values, str):
        values = values.split(",")
    found = dict.fromkeys(part.strip() for part in values or () if part.strip())  # type: ignore[attr-defined]
    return ",".join(found)
