"""Files of a system VM for an operator: what is packed, and what is not."""

import io
import zipfile
from pathlib import Path

import pytest

from sysvm.agent.collecting import collect
from sysvm.basics.errors import Refused
from sysvm.wire.collecting import CollectFiles


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A machine's root with logs and secrets."""
    log = tmp_path / "var/log/sysvm"
    log.mkdir(parents=True)
    (log / "current").write_text("agent_started\n")
    (log / "old").write_bytes(b"x" * 3_000_000)
    (log / "trap").symlink_to("/etc/shadow")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/shadow").write_text("root:secret")
    return tmp_path


def packed(root: Path, *files: str) -> dict[str, bytes]:
    """What is in the archive."""
    found = collect(CollectFiles(files=files), root)
    with zipfile.ZipFile(io.BytesIO(found.archive)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def test_logs_and_reports_are_packed(root: Path) -> None:
    """A folder is all its files; a long one is cut to its end; a link leads nowhere; what is missing is told."""
    found = packed(root, "/var/log", "/var/log/nothing", "[route]")
    assert found["var/log/sysvm/current"] == b"agent_started\n"
    assert len(found["var/log/sysvm/old"]) == 1024 * 1024
    assert "var/log/sysvm/trap" not in found and b"secret" not in b"".join(found.values())
    assert b"/var/log/nothing: No such file" in found["missing"] and b"/var/log/sysvm/trap" in found["missing"]
    assert b"127.0.0.1" in found["route"]


def test_without_names_the_usual_is_packed(root: Path) -> None:
    """Rules as they are live, routes, addresses, processes, the log."""
    assert {"rules", "route", "ifconfig", "processes", "disk", "var/log/sysvm/current"} <= packed(root).keys()


@pytest.mark.parametrize(
    "name", ["/etc/shadow", "/var/log/../../etc/shadow", "relative", "/run/sysvm/haproxy/certificates/x.pem", "[SECRETS]"]
)
def test_what_may_hold_a_secret_is_refused(root: Path, name: str) -> None:
    """Before anything is read."""
    with pytest.raises(Refused):
        packed(root, name)
