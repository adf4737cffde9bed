"""The system VM template as files, at addresses that do not change: `/systemvm/systemvm-<version>-<hypervisor>.<format>`, and the
same with `.sha256`. What `sysvm template build --for` has written on this machine; registerTemplate takes such an address.

Everybody who reaches the API may read them: there is nothing of a cloud in a template.
"""

from pathlib import Path

from sysvm import images
from sysvm.images.export import NAME, folder_of

PREFIX = "/systemvm/"


def found(path: str) -> Path | None:
    """The file at this path; None where there is none."""
    name = path.removeprefix(PREFIX)
    if name == path or not NAME.fullmatch(name):
        return None
    folder = folder_of(images.cache_folder())
    whole = (folder / f"{name.removesuffix('.sha256')}.sha256").is_file()
    return folder / name if whole else None
