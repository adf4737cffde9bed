"""Versions of system VM templates, compared."""

import pytest

from sysvm.systemvms.versions import is_older


@pytest.mark.parametrize(
    ("version", "minimum", "older"),
    [
        ("4.9.1", "4.10.0", True),
        ("4.10.0", "4.10.0", False),
        ("4.10", "4.10.0", False),
        ("1.0.0-7", "1.0.0", False),
        ("0.9-rc", "1.0.0", True),
        ("1.0.0", "", False),
        ("simulated", "1.0.0", False),
    ],
)
def test_one_version_is_older_than_another(version: str, minimum: str, older: bool):
    """Number by number; a word that has none is no version, and nothing is refused because of it."""
    assert older is is_older(version, minimum)
