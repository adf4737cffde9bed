"""Turns a tree into a squashfs image; equal trees give equal bytes, whatever the machine and the number of its cores."""

from pathlib import Path

from sysvm.images.commands import run

# Small, for what is kept long; higher levels take long to write and gain 3 %.
ZSTD = ("-comp", "zstd", "-Xcompression-level", "6")
# Written and read fast, for what changes daily.
LZ4 = ("-comp", "lz4")


def squash(
    tree: Path,
    image: Path,
    *,
    keep_owners: bool,
    compression: tuple[str, ...] = ZSTD,
    plain: tuple[str, ...] = (),
) -> None:
    """Writes `image` (replaced if there) from `tree`; without `keep_owners` everything in it belongs to root.

    Files that one of the `plain` tests names (mksquashfs's, such as `name(libc.so.6)`) are left uncompressed.
    """
    image.unlink(missing_ok=True)
    owners = () if keep_owners else ("-all-root",)
    action = ("-action", f"uncompressed @ ({' || '.join(plain)})") if plain else ()
    run(
        "mksquashfs", tree, image, "-noappend", "-no-progress", "-quiet", "-no-xattrs", "-no-exports",
        *compression, *owners, *action,
    )  # fmt: skip
