"""Writes the byte code of a folder of modules into one file, from which `sysvm.agent.start` imports.

The file: the interpreter's magic number (as in a .pyc), the length of the index (4 bytes, little-endian), the index, then the
marshalled code of each module. The index is marshalled too: the folder as it is called inside a system VM, and for each
module where its code begins after the index, its length, and whether it is a package. Only byte code that is never compared
with its source (PEP 552, unchecked) is taken, for a bundle cannot be compared either.
"""

import marshal
from collections.abc import Iterator
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

from sysvm.basics.errors import Refused, Why

_MAGIC, _HEADER = 4, 16  # of a .pyc: magic number; with flags and the source's hash
_UNCHECKED = b"\x01\x00\x00\x00"
_PLAIN_MARSHAL = 2  # later versions tell equal objects from the same one, and so write equal indices differently


def write_bundle(folder: Path, inside: str, file: Path) -> None:
    """Bundles the compiled modules below `folder`, called `inside` in a system VM. Refused unless all are of one Python."""
    index: dict[str, tuple[int, int, bool]] = {}
    codes = bytearray()
    magics = set()
    for source in sorted(_modules(folder)):
        compiled = _compiled(source)
        code = memoryview(compiled)[_HEADER:]
        magics.add(compiled[:_MAGIC])
        index[_name(source.relative_to(folder))] = (len(codes), len(code), source.stem == "__init__")
        codes += code
    if len(magics) != 1:
        raise Refused(f"the byte code below {folder} is of {len(magics)} Pythons, not of one", Why.INTERNAL)
    packed = marshal.dumps((inside, index), _PLAIN_MARSHAL)
    file.write_bytes(magics.pop() + len(packed).to_bytes(4, "little") + packed + codes)


def _modules(folder: Path) -> Iterator[Path]:
    """The sources that `import` would take: an extension module of the same name beside it goes before a source."""
    for source in folder.rglob("*.py"):
        names = source.relative_to(folder).with_suffix("").parts
        shadowed = any(source.with_suffix(suffix).exists() for suffix in EXTENSION_SUFFIXES)
        if all(name.isidentifier() for name in names) and not shadowed:
            yield source


def _name(source: Path) -> str:
    parts = source.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _compiled(source: Path) -> bytes:
    found = sorted((source.parent / "__pycache__").glob(f"{source.stem}.cpython-*.pyc"))
    content = found[0].read_bytes() if len(found) == 1 else b""
    if content[_MAGIC:8] != _UNCHECKED:
        raise Refused(f"{source} has no byte code that is taken as it is", Why.INTERNAL)
    return content
