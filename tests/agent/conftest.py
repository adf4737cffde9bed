"""One lab per module; what it lost is shown when it could not be built."""

from collections.abc import Iterator

import pytest

from tests.agent.lab import Lab


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A router with its agent, a guest side and an outside."""
    made = Lab()
    try:
        made.build()
        made.start_agent()
        yield made
    finally:
        made.remove()
