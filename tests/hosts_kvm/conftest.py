"""QEMU runs in these tests as users of its own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.hosts import ground
from tests.hosts_kvm.own_folder import tmp_path as tmp_path
from tests.hosts_kvm.stage import KvmStage, kvm


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[KvmStage]:
    """A host of its own."""
    if not ground.is_root():
        pytest.skip("needs root")
    async with kvm(tmp_path) as made:
        yield made
