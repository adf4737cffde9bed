"""Turns a tree into a squashfs image; equal trees give equal bytes, whatever the machine and the number of its cores."""

from pathlib import Path

from sysvm.images.commands import run

# zstd reads as fast as lz4 in an emulated guest and is half as large; higher levels take long to write and gain 3 %.
_LEVEL = "6"


def squash(tree: Path, image: Path, *, keep_owners: bool) -> None:
    """Writes `image` (replaced if there) from `tree`; without `keep_owners` everything in it belongs to root."""
    image.unlink(missing_ok=True)
    owners = () if keep_owners else ("-all-root",)
    run(
        "mksquashfs", tree, image, "-noappend", "-no-progress", "-quiet", "-no-xattrs", "-no-exports",
        "-comp", "zstd", "-Xcompression-level", _LEVEL, *owners,
    )  # fmt: skip
