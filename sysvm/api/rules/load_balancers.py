"""What a load balancer rule, its stickiness and its health check may say. Pure: raises Refused with CloudStack's texts.

CloudStack checks the form of sizes and times only; what HAProxy would then refuse, or read as something else, is refused
here too, so that no rule can stop another one.
"""

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sysvm.basics.errors import Refused
from sysvm.wire.balancing import Algorithm, Carried, StickyBy

FLAGS = {
    StickyBy.LB_COOKIE: ("nocache", "indirect", "postonly"),
    StickyBy.APP_COOKIE: ("request-learn", "prefix"),
    StickyBy.SOURCE: (),
}
VALUES = {
    StickyBy.LB_COOKIE: ("cookie-name", "mode", "domain"),
    StickyBy.APP_COOKIE: ("cookie-name", "length", "holdtime", "mode"),
    StickyBy.SOURCE: ("tablesize", "expire"),
}
MODES = {
    StickyBy.LB_COOKIE: ("insert", "rewrite", "prefix"),
    StickyBy.APP_COOKIE: ("path-parameters", "query-string"),
}
MOST_ENTRIES, MOST_SECONDS, LONGEST_SESSION = 10_000_000, 30 * 86400, 255
LONGEST_PATH, MOST_CHECK_SECONDS, MOST_THRESHOLD = 255, 3600, 100
_TOKEN = re.compile(r"[A-Za-z0-9_.~-]{1,64}")
_SIZE = re.compile(r"([1-9][0-9]{0,8})([kmg]?)")
_TIME = re.compile(r"([1-9][0-9]{0,8})([smhd]?)")
_PATH = re.compile(r"/[A-Za-z0-9/_.~:;,@!$&'()*+=?%-]*")
_UNITS = {"": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}  # HAProxy takes a bare number for milliseconds
_SIZES = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}


@dataclass(frozen=True, slots=True)
class Check:
    """A health check."""

    path: str
    response_s: int
    interval_s: int
    healthy: int
    unhealthy: int


def algorithm(text: str) -> Algorithm:
    """How the next member is chosen."""
    try:
        return Algorithm(text.strip().lower())
    except ValueError:
        raise Refused(f"Invalid algorithm: {text}; use one of {', '.join(Algorithm)}") from None


def carried(text: str | None) -> Carried:
    """The protocol; TCP when none is said."""
    try:
        return Carried((text or "tcp").strip().lower())
    except ValueError:
        raise Refused(f"Invalid protocol {text}: the load balancer carries {', '.join(Carried)}") from None


def port(number: int, name: str) -> int:
    """A single port."""
    if not 1 <= number <= 65535:
        raise Refused(f"{name} is an invalid value: {number}")
    return number


def check_scheme(text: str) -> None:
    """The only one in which a load balancer has an address of its own."""
    if text.strip().lower() != "internal":
        raise Refused(f"Invalid value for scheme: {text}. Supported value is Internal")


def source_address(text: str) -> str:
    """An IPv4 address in normal form."""
    try:
        return str(ipaddress.IPv4Address(text.strip()))
    except ValueError:
        raise Refused(f"Invalid sourceipaddress {text}: it is an IPv4 address of the network") from None


def refuse_taken_port(public_port: int, statistics_port: int, *, answers_dns: bool) -> None:
    """Raises when the router itself listens there."""
    if public_port == statistics_port:
        raise Refused(
            f"Can't create LB on port {public_port}, haproxy is listening for LB stats on this port; choose another one"
        )
    if public_port == 53 and answers_dns:
        raise Refused("Can't create LB on port 53 of the source NAT address: the router answers DNS for this network")


# ---------------------------------------------------------------- stickiness
def parameters(groups: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """param[0].name=expire&param[0].value=1h, or param[0].expire=1h."""
    found: dict[str, str] = {}
    for group in groups:
        if "name" in group and set(group) <= {"name", "value"}:
            found[group["name"]] = group.get("value", "")
        else:
            found.update(group)
    return found


def stickiness(rule: str, method: str, given: Mapping[str, str]) -> tuple[StickyBy, dict[str, str]]:
    """The method and its parameters, in normal form."""
    found = next((each for each in StickyBy if each.value.lower() == method.strip().lower()), None)
    if found is None:
        raise Refused(f"Failed to match Stickiness method name for LB rule: {rule}; use one of {', '.join(StickyBy)}")
    params = {name.strip().lower(): value.strip() for name, value in given.items()}
    unknown = sorted(params.keys() - set(FLAGS[found]) - set(VALUES[found]))
    if unknown:
        raise Refused(
            f"Failed to match Stickiness params for LB rule: {rule}; {found.value} has no parameter {unknown[0]}, only"
            f" {', '.join((*VALUES[found], *FLAGS[found]))}"
        )
    flags = {name: "true" for name in FLAGS[found] if _is_set(params.get(name))}
    values = {name: params[name] for name in VALUES[found] if params.get(name)}
    for name, value in values.items():
        _check_value(rule, found, name, value)
    return found, values | flags


def _is_set(value: str | None) -> bool:
    # A flag may come without a value.
    return value is not None and value.lower() not in ("false", "no", "0")


def _check_value(rule: str, method: StickyBy, name: str, value: str) -> None:
    cause = ""
    match name:
        case "cookie-name" | "domain":
            cause = "" if _TOKEN.fullmatch(value) else f"{name} has characters that a cookie cannot have: {value}"
        case "mode":
            modes = MODES[method]
            cause = "" if value in modes else f"mode is none of {', '.join(modes)}: {value}"
        case "length":
            fits = value.isdecimal() and 1 <= int(value) <= LONGEST_SESSION
            cause = "" if fits else f"length is not a number from 1 to {LONGEST_SESSION}: {value}"
        case "tablesize":
            found = _SIZE.fullmatch(value)
            fits = found is not None and int(found[1]) * _SIZES[found[2]] <= MOST_ENTRIES
            cause = "" if fits else f"tablesize is not in size format, or beyond {MOST_ENTRIES}: {value}"
        case "holdtime" | "expire":
            found = _TIME.fullmatch(value)
            fits = found is not None and 1 <= int(found[1]) * _UNITS[found[2]] <= MOST_SECONDS
            cause = "" if fits else f"{name} is not in timeformat, or not from 1s to 30d: {value}"
    if cause:
        raise Refused(f"Failed LB in validation rule id: {rule} Cause: {cause}")


# ---------------------------------------------------------------- health check
def health_check(
    path: str | None, response_s: int | None, interval_s: int | None, healthy: int | None, unhealthy: int | None
) -> Check:
    """A whole health check; CloudStack's values where none is given."""
    found = Check(
        path=path or "/",
        response_s=2 if response_s is None else response_s,
        interval_s=5 if interval_s is None else interval_s,
        healthy=2 if healthy is None else healthy,
        unhealthy=1 if unhealthy is None else unhealthy,
    )
    if not _PATH.fullmatch(found.path) or len(found.path) > LONGEST_PATH:
        raise Refused(f"pingpath is a path such as /health, up to {LONGEST_PATH} characters: {found.path}")
    bounds = (
        ("responsetimeout", found.response_s, MOST_CHECK_SECONDS),
        ("intervaltime", found.interval_s, MOST_CHECK_SECONDS),
        ("healthythreshold", found.healthy, MOST_THRESHOLD),
        ("unhealthythreshold", found.unhealthy, MOST_THRESHOLD),
    )
    for name, number, most in bounds:
        if not 1 <= number <= most:
            raise Refused(f"{name} is from 1 to {most}: {number}")
    return found


# ---------------------------------------------------------------- members
def wanted_members(
    ids: Iterable[str], by_address: Iterable[Mapping[str, str]], *, need: bool = True
) -> dict[str, tuple[str, ...]]:
    """Guest -> addresses that are named for it (none: its primary one), from virtualmachineids and vmidipmap."""
    found: dict[str, tuple[str, ...]] = dict.fromkeys(ids, ())
    for pair in by_address:
        uuid, address = pair.get("vmid", "").strip(), pair.get("vmip", "").strip()
        if not uuid:
            raise Refused("vmidipmap is given as vmidipmap[0].vmid and vmidipmap[0].vmip")
        if address:
            found[uuid] = (*found.get(uuid, ()), address)
        else:
            found.setdefault(uuid, ())
    if need and not found:
        raise Refused("Either virtualmachineids or vmidipmap must be given")
    return found
