"""Bundles of modules: what `sysvm.images.bundle` writes is what `sysvm.agent.start` imports."""

import compileall
import subprocess
import sys
from pathlib import Path
from py_compile import PycInvalidationMode

import pytest

from sysvm.agent import start
from sysvm.basics.errors import Refused
from sysvm.images.bundle import write_bundle

SOURCES = {
    "alone.py": "WORD = 'alone'\ndef fail():\n    raise ValueError('here')\n",
    "many/__init__.py": "from many.inner import deep\n",
    "many/inner/__init__.py": "",
    "many/inner/deep.py": "import alone\nWORD = alone.WORD + ', deep'\n",
    "spaced/only.py": "WORD = 'in a folder without __init__'\n",
    "not-a-name/other.py": "raise SystemExit('never imported')\n",
    "swift.py": "WORD = 'the slow one'\n",
    "swift.cpython-311-x86_64-linux-gnu.so": "",
}
SHOW = "import alone, many, spaced.only; print(many.deep.WORD, many.__path__, alone.__file__, spaced.only.WORD, sep='\\n')"


def make(folder: Path, mode: PycInvalidationMode = PycInvalidationMode.UNCHECKED_HASH) -> Path:
    """The modules, compiled; the folder that they are in."""
    for name, text in SOURCES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    assert compileall.compile_dir(folder, quiet=2, invalidation_mode=mode)
    return folder


def python(bundle: Path, folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Runs `code` where modules come from `bundle` and then from `folder`."""
    places = [str(folder), str(Path(start.__file__).parent)]
    words = f"import sys; sys.path[:0] = {places}; import start; start.use(({str(bundle)!r},)); {code}"
    return subprocess.run([sys.executable, "-I", "-B", "-c", words], capture_output=True, text=True, check=False)


def test_modules_come_from_the_bundle_and_say_where_their_files_are(tmp_path: Path):
    """Packages, modules in them, and a folder without __init__.py; the sources say something else by then."""
    folder = make(tmp_path / "modules")
    write_bundle(folder, str(folder), tmp_path / "bundle")
    (folder / "alone.py").write_text("WORD = 'changed'\n")
    done = python(tmp_path / "bundle", folder, SHOW)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "alone, deep",
        f"['{folder}/many']",
        f"{folder}/alone.py",
        "in a folder without __init__",
    ]


def test_a_traceback_shows_the_source(tmp_path: Path):
    """The code was compiled under the name that its file has."""
    folder = make(tmp_path / "modules")
    write_bundle(folder, str(folder), tmp_path / "bundle")
    done = python(tmp_path / "bundle", folder, "import alone; alone.fail()")
    assert f'File "{folder}/alone.py", line 3, in fail\n    raise ValueError' in done.stderr


def test_what_import_would_not_take_is_not_in_a_bundle(tmp_path: Path):
    """An extension module goes before the source of its name; a folder may have a name that no module can have."""
    folder = make(tmp_path / "modules")
    write_bundle(folder, str(folder), tmp_path / "bundle")
    found = start.Bundle(str(tmp_path / "bundle"))
    names = ("alone", "many", "many.inner.deep", "spaced.only", "swift", "not-a-name.other", "spaced", "absent")
    assert [name for name in names if found.find_spec(name)] == ["alone", "many", "many.inner.deep", "spaced.only"]


OTHERS = {"none": None, "empty": b"", "of another Python": b"\x00\x00\r\n" + bytes(40)}


@pytest.mark.parametrize("content", OTHERS.values(), ids=OTHERS)
def test_without_a_bundle_of_this_python_files_are_imported(tmp_path: Path, content: bytes | None):
    """A template or an agent from before there were bundles, or of another version of Python."""
    folder = make(tmp_path / "modules")
    if content is not None:
        (tmp_path / "bundle").write_bytes(content)
    done = python(tmp_path / "bundle", folder, SHOW)
    assert (done.stderr, done.stdout.splitlines()[0]) == ("", "alone, deep")


def test_byte_code_that_would_be_compared_with_its_source_is_refused(tmp_path: Path):
    """A bundle would go on giving what the source was."""
    folder = make(tmp_path / "modules", PycInvalidationMode.TIMESTAMP)
    with pytest.raises(Refused, match="no byte code that is taken as it is"):
        write_bundle(folder, str(folder), tmp_path / "bundle")


def test_byte_code_of_two_pythons_is_refused(tmp_path: Path):
    """One of them could not be read."""
    folder = make(tmp_path / "modules")
    compiled = folder / "many/inner/__pycache__/deep.cpython-311.pyc"
    compiled.write_bytes(b"\x00\x00\r\n" + compiled.read_bytes()[4:])
    with pytest.raises(Refused, match="of 2 Pythons"):
        write_bundle(folder, str(folder), tmp_path / "bundle")


def test_equal_modules_give_equal_bundles(tmp_path: Path):
    """Whatever else this process knows the same names from."""
    one, two = make(tmp_path / "modules"), tmp_path / "two"
    write_bundle(one, "/inside", two)
    names = [sys.intern(name) for name in ("alone", "many.inner.deep")]
    write_bundle(one, "/inside", tmp_path / "three")
    assert names
    assert two.read_bytes() == (tmp_path / "three").read_bytes()
