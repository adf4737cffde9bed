"""`sysvm certs`: a directory of files becomes what is served, with the server stopped."""

import functools
import os
import time
from pathlib import Path

import pytest

from sysvm.basics.clock import SystemClock
from sysvm.basics.errors import Refused
from sysvm.basics.ids import SystemIds
from sysvm.cli.certs import imported, listed, read
from sysvm.store import schema, seed
from sysvm.store.secrets import open_vault
from sysvm.store.store import SqliteStore, lock_state_folder
from tests.certificates.authority import NOW, SUFFIX, Made, make, server

TODAY = {"begin": time.time() - NOW - 3600}
ROOT = make("root", **TODAY)
UPPER = make("upper", ROOT, **TODAY)
LOWER = make("lower", UPPER, **TODAY)
LEAF = server(LOWER, **TODAY)
FILES = {
    "z-root.crt": ROOT.pem,
    "lower.pem": LOWER.pem,
    "m.cer": UPPER.pem,
    "server.crt": LEAF.pem,
    "server.key": LEAF.key_pem,
}


def folder(place: Path, files: dict[str, str]) -> Path:
    """A directory of these."""
    place.mkdir()
    for name, text in files.items():
        (place / name).write_text(text)
    return place


@pytest.fixture
async def state(tmp_path: Path) -> Path:
    """The state folder of a server that has run once."""
    place = tmp_path / "state"
    place.mkdir()
    store = SqliteStore(place / "sysvm.db", SystemClock())
    await schema.ensure(store)
    vault = open_vault(place)
    await store.run(functools.partial(seed.sow, ids=SystemIds(), vault=vault, version="t", admin_password_hash=seed.LOCKED))
    await store.close()
    return place


def test_files_of_any_name_are_put_in_order(tmp_path: Path):
    """What each is, its content says."""
    found = read(folder(tmp_path / "c", FILES), SUFFIX)
    assert [("z-root", 1), ("m", 2), ("lower", 3)] == [(member.name, member.seq) for member in found.members]
    assert (LEAF.pem, LEAF.key_pem) == (found.leaf.pem, found.leaf.key)


def test_a_directory_replaces_what_is_there(state: Path, tmp_path: Path):
    """The listing shows it, from the root to the server certificate; a shorter chain leaves nothing of the old one."""
    assert "4 certificates imported" in imported(state, folder(tmp_path / "one", FILES), SUFFIX)
    assert ["z-root", "m", "lower", "CPVMCertificate"] == [line.split()[1] for line in listed(state)]
    short: Made = server(ROOT, **TODAY)
    imported(state, folder(tmp_path / "two", {"r.pem": ROOT.pem, "s.pem": short.pem, "s.key": short.key_pem}), SUFFIX)
    assert ["r", "CPVMCertificate"] == [line.split()[1] for line in listed(state)]


BROKEN = [
    ({"m.cer": None}, "the issuer of lower"),
    ({"server.key": None}, "holds 0 private keys"),
    ({"server.crt": None}, "belongs to the key in server.key"),
    ({"lower.pem": "-----BEGIN CERTIFICATE-----"}, "lower.pem: the text is cut"),
    ({"other.pem": make("other", **TODAY).pem}, "other"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "why"), BROKEN)
def test_what_is_wrong_is_named_and_nothing_changes(state: Path, tmp_path: Path, changes: dict[str, str | None], why: str):
    """With the file's name."""
    files = {name: text for name, text in {**FILES, **changes}.items() if text is not None}
    with pytest.raises(Refused, match=why):
        imported(state, folder(tmp_path / "c", files), SUFFIX)
    assert [] == listed(state)


def test_a_running_server_is_not_gone_behind(state: Path):
    """It has the database to itself."""
    lock = lock_state_folder(state)
    with pytest.raises(Refused, match="a server runs on"):
        listed(state)
    os.close(lock)
