"""A folder of a test, apart from pytest's: each run of pytest shuts the folder that all runs share, and QEMU, which is not root
and walks to its disks by an access list, stands before a shut door in all the others."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """Its own; gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="sysvm-kvm-"))
    yield folder
    shutil.rmtree(folder)
