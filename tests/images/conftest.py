"""The images under test: those of the cache, built where they are missing."""

from pathlib import Path

import pytest

from sysvm.images import AgentLayer, Guest, Template, agent_layer, build_guest, cache_folder, ensure

STANDIN = Path(__file__).parent / "standin"


@pytest.fixture(scope="session")
def template() -> Template:
    """The template of the present recipe."""
    return ensure(cache_folder(), print)


@pytest.fixture(scope="session")
def standin() -> AgentLayer:
    """An agent layer whose agent runs the commands that its host sends."""
    return agent_layer(cache_folder(), print, STANDIN)


@pytest.fixture(scope="session")
def guest() -> Guest:
    """The tiny guest."""
    return build_guest(cache_folder(), print)
