"""A built web interface beside the API: the operator's files, and nothing else of the machine."""

from pathlib import Path

import pytest

from sysvm.api.app import make_apps
from sysvm.basics.errors import Refused
from tests.api.stage import Answer, Stage, send


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """As `npm run build` leaves it, with a secret beside it and links out of it."""
    folder = tmp_path / "dist"
    (folder / "js").mkdir(parents=True)
    (folder / ".git").mkdir()
    (folder / "index.html").write_text("<h1>UI</h1>")
    (folder / "js" / "app.js").write_text("run()")
    (folder / ".git" / "config").write_text("hidden")
    (tmp_path / "secret").write_text("secret")
    (folder / "out").symlink_to(tmp_path / "secret")
    (folder / "up").symlink_to(tmp_path)
    return folder


async def get(stage: Stage, ui: Path | None, path: str, method: str = "GET", **headers: str) -> Answer:
    apps = make_apps(stage.store, stage.ids, stage.vault, stage.passwords, ui=ui)
    return await send(apps.main, path=path, method=method, headers=headers)


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/client/", 200, b"<h1>UI</h1>"),
        ("/client/index.html", 200, b"<h1>UI</h1>"),
        ("/client/js/app.js", 200, b"run()"),
        ("/client", 302, b""),
        ("/", 302, b""),
    ],
)
async def test_the_interface_is_where_it_looks_for_itself(stage: Stage, built: Path, path: str, status: int, body: bytes):
    """Relative paths of its page lead to its scripts, and /client/api is beside them."""
    found = await get(stage, built, path)
    assert (status, body) == (found.status, found.body)


@pytest.mark.parametrize(
    "path",
    [
        "/client/../secret", "/client/js/../../secret", "/client/..", "/client//etc/passwd", "/etc/passwd", "/js/app.js",
        "/client/out", "/client/up/secret", "/client/.git/config", "/client/js", "/client/js/", "/client/none", "/client/a\0b",
        "/clientele/index.html",
    ],
)  # fmt: skip
async def test_nothing_else_is_given_out(stage: Stage, built: Path, path: str):
    """Neither what is beside the folder nor where links lead, nor what is hidden, nor lists of files."""
    found = await get(stage, built, path)
    assert (404, False) == (found.status, b"secret" in found.body or b"hidden" in found.body or b"root:" in found.body)


async def test_files_are_read_only(stage: Stage, built: Path):
    """There is nothing to write."""
    assert 405 == (await get(stage, built, "/client/index.html", method="POST")).status


async def test_a_browser_may_keep_what_has_not_changed(stage: Stage, built: Path):
    """It asks each time, and gets no body when its copy is right."""
    first = await get(stage, built, "/client/js/app.js")
    assert ("no-cache", "nosniff", "SAMEORIGIN") == tuple(
        first.header(name) for name in ("cache-control", "x-content-type-options", "x-frame-options")
    )
    again = await get(stage, built, "/client/js/app.js", **{"if-none-match": first.header("etag")})
    assert (304, b"") == (again.status, again.body)


async def test_the_api_stays_where_it_is(stage: Stage, built: Path):
    """A folder named api hides nothing."""
    (built / "api").write_text("not the API")
    assert 401 == (await get(stage, built, "/client/api")).status


async def test_without_a_folder_there_is_none(stage: Stage):
    """What is there then says where the API is."""
    found = await get(stage, None, "/client/")
    assert (404, True) == (found.status, b"/client/api" in found.body)


async def test_a_folder_without_a_page_is_refused_at_the_start(stage: Stage, tmp_path: Path):
    """The sources of the UI, say, that nobody has built."""
    with pytest.raises(Refused, match="is no built web interface"):
        await get(stage, tmp_path, "/client/")
