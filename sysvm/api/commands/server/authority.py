"""The built-in certificate authority: its certificate, certificates that it issues on request, revoking those of hosts.

There is one provider, `root`. What it issues on request is nobody's link: hosts are known by certificates that were given
to them, so an issued one opens no door here. It cannot be revoked either, for nobody would hear of it: it is short-lived.
"""

import ipaddress
import json
import re
from typing import Any

from sysvm.api.call import Accepted, Call, One, Reply
from sysvm.api.commands.infrastructure import hosts
from sysvm.api.handlers import handler, result
from sysvm.api.listing import slice_rows
from sysvm.api.results import open_secret
from sysvm.basics.errors import Refused, Why
from sysvm.ca.authority import DAY_S, Authority, parse_request, requested
from sysvm.store import tables
from sysvm.store.queries import keys, settings, turns
from sysvm.store.queries.events import About
from sysvm.store.queries.jobs import Part
from sysvm.store.store import Row, Tx

PROVIDER = {
    "name": "root",
    "description": "The certificate authority that is built in; its certificates are short-lived",
}
MOST_DAYS = 825
PERIOD = "ca.framework.cert.validity.period"
SEALED = "sealed_certificate"

_dns = re.compile(r"(\*\.)?([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.IGNORECASE)


def _check_provider(call: Call) -> None:
    if (call.get("provider") or PROVIDER["name"]).strip().lower() != PROVIDER["name"]:
        raise Refused(f"There is no CA provider {call['provider']}; there is {PROVIDER['name']}")


def _root(tx: Tx) -> Row:
    row = next(iter(tx.rows(tables.certificate, "name = :name", name=keys.AUTHORITY)), None)
    if row is None:
        raise Refused("The certificate authority is made when the server starts; it has not yet")
    return row


@handler("listCAProviders")
def list_ca_providers(call: Call) -> Reply:
    """One."""
    wanted = call.get("name")
    return slice_rows(call, [PROVIDER] if wanted in (None, "", PROVIDER["name"]) else [])


@handler("listCaCertificate")
def list_ca_certificate(call: Call) -> Reply:
    """The root, which hosts and relays trust."""
    _check_provider(call)
    return One({"certificate": _root(call.tx).pem})


# ---------------------------------------------------------------- issuing
@handler("issueCertificate")
def issue_certificate(call: Call) -> Reply:
    """For the key of a request, or with a new key; the result is shown to who asked, and kept encrypted."""
    _check_provider(call)
    row = _root(call.tx)
    authority = Authority.load(row.pem, call.vault.open(row.private_key))
    names, addresses = _names(call)
    if csr := call.get("csr"):
        asked, also = requested(parse_request(csr))
        names, addresses = names or _checked_names(asked), addresses or also
    if not names and not addresses:
        raise Refused("Please give domain or ipaddress, or a csr that has names")
    title = (*names, *addresses)[0]
    uri, seconds = f"sysvm://issued/{call.ids.uuid()}", _days(call) * DAY_S
    if csr:
        issued = authority.sign_request(csr, title, uri, call.now, seconds=seconds, addresses=addresses, names=names)
        made = {"certificate": issued.chain}
    else:
        issued, key = authority.issue(title, uri, call.now, seconds=seconds, addresses=addresses, names=names)
        made = {"certificate": issued.chain, "privatekey": key}
    sealed = call.vault.seal(json.dumps({**made, "cacertificates": authority.ca_pem}))
    about = About("Certificate", None, "", title)
    return Accepted((), about, f"Issuing a certificate for {title}", params={SEALED: sealed}, secret=True)


def _names(call: Call) -> tuple[tuple[str, ...], tuple[str, ...]]:
    names = _checked_names(tuple(filter(None, re.split(r"[,\s]+", call.get("domain") or ""))))
    addresses = tuple(filter(None, re.split(r"[,\s]+", call.get("ipaddress") or "")))
    for address in addresses:
        try:
            ipaddress.ip_address(address)
        except ValueError:
            raise Refused(f"{address} is no IP address") from None
    return names, addresses


def _checked_names(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if len(name) > 253 or not _dns.fullmatch(name):
            raise Refused(f"{name} is no DNS name")
    return names


def _days(call: Call) -> int:
    days = call.get("duration") or int(settings.value(call.tx, PERIOD))
    if not 1 <= days <= MOST_DAYS:
        raise Refused(f"duration is in days, from 1 to {MOST_DAYS}")
    return int(days)


@result("issueCertificate")
def _issued(tx: Tx, job: Row) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(open_secret(job.params[SEALED]))
    return found


# ---------------------------------------------------------------- revoking
@handler("revokeCertificate")
def revoke_certificate(call: Call) -> Reply:
    """A host's certificate opens no link any more; the link that stands is cut."""
    _check_provider(call)
    serial = call["serial"].strip().lower().replace(":", "").removeprefix("0x").lstrip("0")
    row = next(iter(call.tx.rows(tables.host_certificate, "serial = :serial", serial=serial)), None)
    if row is None:
        raise Refused(
            f"No host has a certificate with serial {call['serial']}; what issueCertificate gave out expires, unrevoked"
        )
    host = call.tx.get(tables.host, row.host_id)
    assert host is not None
    if call.get("cn") and call["cn"] not in (host.uuid, host.name):
        raise Refused(f"The certificate with serial {call['serial']} is host {host.name}'s ({host.uuid}), not {call['cn']}'s")
    if row.revoked is None:
        call.tx.update(tables.host_certificate, row.id, revoked=call.now)
        _cut(call, host)
    return Accepted((), call.about("Host", host), f"Revoked certificate {serial} of host {host.name}")


def _cut(call: Call, host: Row) -> None:
    """Its turn ends the link. A host with another certificate dials again, one without is refused."""
    if host.removed is None and host.link_session is not None:
        call.tx.update(tables.host, host.id, state="Connecting", why="a certificate of it was revoked")
        turns.wish(call.tx, "host", host.id, host=host.id)


# ---------------------------------------------------------------- renewing
@handler("provisionCertificate")
def provision_certificate(call: Call) -> Reply:
    """A host takes a new certificate now. With `reconnect` its link is opened anew, which shows it; else it is shown at the
    next link."""
    _check_provider(call)
    host = call.need(tables.host, "hostid")
    about, text = call.about("Host", host), f"Renewing the certificate of host {host.name}"
    if host.hypervisor in hosts.SIMULATED:
        return Accepted((), about, f"{text}: it has none, it is simulated")
    if host.state != "Up" or host.link_session is None:
        raise Refused(
            f"Host {host.name} is {host.state}: it renews over its link. When it cannot link, give it a new token with "
            "reconnectHost",
            Why.UNAVAILABLE,
        )
    changes: dict[str, Any] = {"renew_after": call.now}
    if call.get("reconnect"):
        changes |= {"state": "Connecting", "why": "its link is being opened anew"}
    call.tx.update(tables.host, host.id, **changes)
    part = Part("host", host.id, turns.wish(call.tx, "host", host.id, host=host.id), "live")
    return Accepted((part,), about, text)
