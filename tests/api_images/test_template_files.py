"""The server gives the system VM template as files, whole or in parts, and nothing else of its cache."""

from pathlib import Path

import pytest

from tests.api.stage import Stage, send

NAME = "systemvm-20261121-0905262707-kvm.qcow2"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with one export, another that is not whole, and something beside them."""
    monkeypatch.setenv("SYSVM_CACHE", str(tmp_path))
    folder = tmp_path / "exports"
    folder.mkdir()
    (folder / NAME).write_bytes(b"QFI and so on")
    (folder / f"{NAME}.sha256").write_text("of it")
    (folder / "systemvm-2-lxc.tar").write_bytes(b"half")
    (tmp_path / "secret.tar").write_bytes(b"secret")
    return tmp_path


async def test_a_template_can_be_fetched_whole_and_in_parts(cache: Path) -> None:
    app = (await Stage.make()).apps.main
    whole = await send(app, path=f"/systemvm/{NAME}")
    assert (200, b"QFI and so on") == (whole.status, whole.body)
    part = await send(app, path=f"/systemvm/{NAME}", headers={"range": "bytes=4-"})
    assert (206, b"and so on", "bytes 4-12/13") == (part.status, part.body, part.header("content-range"))
    assert b"of it" == (await send(app, path=f"/systemvm/{NAME}.sha256")).body


@pytest.mark.parametrize(
    "path", ["systemvm-2-lxc.tar", "systemvm-3-lxc.tar", "../secret.tar", "systemvm-../../secret.tar", "", "x.tar"]
)
async def test_nothing_else_is_given(cache: Path, path: str) -> None:
    app = (await Stage.make()).apps.main
    assert 404 == (await send(app, path=f"/systemvm/{path}")).status
