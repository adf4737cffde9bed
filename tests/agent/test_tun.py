"""Programs that make interfaces of their own, where they cannot: the router says what is missing, instead of that they died."""

from pathlib import Path

import pytest

from sysvm.agent.command import CommandFailed
from sysvm.agent.roles.router import service

pytestmark = pytest.mark.root


def test_the_node_that_is_there_is_enough():
    """Nothing is said."""
    service.need_tun("charon")


def test_one_that_cannot_be_opened_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """With the reason."""
    monkeypatch.setattr(service, "TUN", str(tmp_path / "tun"))
    with pytest.raises(CommandFailed, match=r"charon: cannot open .*/tun: No such file or directory"):
        service.need_tun("charon")
