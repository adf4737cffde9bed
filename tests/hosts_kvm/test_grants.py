"""Console grants and fetch tickets: signed by the server, bounded in time, and nothing else."""

import base64
import json
import subprocess
import sys
from dataclasses import replace

import pytest

from sysvm.wire.grants import (
    LONGEST_GRANT,
    BadGrant,
    FetchTicket,
    Grant,
    check_grant,
    check_ticket,
    new_grant_key,
    public_grant_key,
    sign_grant,
    sign_ticket,
)

NOW = 1000.0
KEY = new_grant_key()
GRANT = Grant(guest="g", machine="m", kind="vnc", session="s", expires=NOW + 60)
TICKET = FetchTicket(store="s", image="i", sha256="0" * 64, expires=NOW + 60)


def test_a_grant_is_read_back_as_it_was_signed():
    assert check_grant(public_grant_key(KEY), sign_grant(KEY, GRANT), NOW) == GRANT


def test_a_ticket_is_read_back_as_it_was_signed():
    assert check_ticket("secret", sign_ticket("secret", TICKET), NOW) == TICKET


@pytest.mark.parametrize(
    ("why", "grant", "now"),
    [
        ("expired", GRANT, NOW + 60),
        ("live too long", replace(GRANT, expires=NOW + LONGEST_GRANT + 1), NOW),
        ("no console of kind", replace(GRANT, kind="shell"), NOW),
    ],
)
def test_a_grant_is_refused_when_it(why, grant, now):
    with pytest.raises(BadGrant, match=why):
        check_grant(public_grant_key(KEY), sign_grant(KEY, grant), now)


def test_a_grant_of_another_key_is_refused():
    with pytest.raises(BadGrant, match="signature"):
        check_grant(public_grant_key(new_grant_key()), sign_grant(KEY, GRANT), NOW)


def test_a_grant_whose_machine_was_changed_is_refused():
    body, signature = sign_grant(KEY, GRANT).split(".")
    fields = json.loads(base64.urlsafe_b64decode(body + "=="))
    forged = base64.urlsafe_b64encode(json.dumps({**fields, "machine": "other"}).encode()).decode().rstrip("=")
    with pytest.raises(BadGrant, match="signature"):
        check_grant(public_grant_key(KEY), f"{forged}.{signature}", NOW)


@pytest.mark.parametrize("text", ["", ".", "a.b.c", "é.x", "x" * 5000 + ".y", "e30.e30", "\x00.\x00"])
def test_what_is_no_grant_is_refused(text):
    with pytest.raises(BadGrant):
        check_grant(public_grant_key(KEY), text, NOW)
    with pytest.raises(BadGrant):
        check_ticket("secret", text, NOW)


def test_no_ticket_is_good_while_there_is_no_secret():
    with pytest.raises(BadGrant, match="signature"):
        check_ticket("", sign_ticket("", TICKET), NOW)


def test_a_system_vm_checks_tickets_without_the_cryptography_package():
    program = (
        "import sys; sys.modules['cryptography'] = None\n"
        "from sysvm.wire.grants import check_ticket\n"
        f"print(check_ticket('secret', {sign_ticket('secret', TICKET)!r}, {NOW}).image)"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "i\n"
