"""The first of our code that runs in a system VM: from here on modules are imported out of bundles.

A bundle is one file with the byte code of a whole folder of modules (`sysvm.images.bundle` writes it): Python's own library
has one in the template, ours and the wheels have one in the agent's layer. The agent imports some 200 modules, and finding,
opening and reading as many files costs an emulated machine more than a second. What a bundle does not have (extension
modules), and everything where there is no bundle of this interpreter, is imported file by file as ever; the files are there
in any case, for tracebacks and for other programs.

It is run as byte code (`start.pyc`) and imports only what is part of the interpreter.
"""

import marshal
import os
import sys
from _frozen_importlib_external import MAGIC_NUMBER, SourceFileLoader, spec_from_file_location

TYPE_CHECKING = False  # typing itself is a file
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import CodeType

PYTHON = "/usr/lib/sysvm/python"
BUNDLES = ("/usr/lib/sysvm/python3.11.bundle", "/usr/lib/sysvm/agent.bundle")


class Bundle:
    """A finder of modules (PEP 451) in one bundle. Raises OSError when it cannot be read, ImportError for another Python's."""

    def __init__(self, file: str) -> None:
        self._handle = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        head = os.pread(self._handle, 8, 0)
        if head[:4] != MAGIC_NUMBER:
            raise ImportError(f"{file} is of another Python")
        size = int.from_bytes(head[4:], "little")
        self._folder, self._index = marshal.loads(os.pread(self._handle, size, 8))
        self._start = 8 + size

    def find_spec(self, name: str, path: object = None, target: object = None) -> "ModuleSpec | None":
        """Where `name` is; None when it is not in this bundle."""
        entry = self._index.get(name)
        if entry is None:
            return None
        place = f"{self._folder}/{name.replace('.', '/')}"
        offset, size, package = entry
        if not package:
            return spec_from_file_location(name, f"{place}.py", loader=Loader(name, f"{place}.py", self, offset, size))
        loader = Loader(name, f"{place}/__init__.py", self, offset, size)
        return spec_from_file_location(name, loader.path, loader=loader, submodule_search_locations=[place])

    def code(self, offset: int, size: int) -> "CodeType":
        """The code of a module."""
        code: CodeType = marshal.loads(os.pread(self._handle, size, self._start + offset))
        return code


class Loader(SourceFileLoader):
    """Python's own loader of files, but for where the code comes from."""

    def __init__(self, name: str, path: str, bundle: Bundle, offset: int, size: int) -> None:
        super().__init__(name, path)
        self._bundle, self._offset, self._size = bundle, offset, size

    def get_code(self, fullname: str) -> "CodeType":
        """The code of the module; its file is not looked at."""
        return self._bundle.code(self._offset, self._size)


def use(bundles: tuple[str, ...]) -> None:
    """Modules come from these `bundles` first, then from files; one that is not there or not of this Python is left out."""
    for file in bundles:
        try:
            sys.meta_path.insert(-1, Bundle(file))
        except (OSError, ImportError):
            continue


if __name__ == "__main__":
    use(BUNDLES)
    sys.path.insert(0, PYTHON)
    from sysvm.agent.main import main

    main()
