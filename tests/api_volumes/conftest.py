"""The zone of the networks' tests, with a disk offering, and volumes that have been made."""

from tests.api_networks.conftest import land

__all__ = ["land"]
