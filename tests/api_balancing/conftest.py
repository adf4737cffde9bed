"""A zone with an implemented network, two guests on it and one elsewhere, and a further public address."""

from dataclasses import dataclass
from typing import Any

import pytest

from tests.api_networks.conftest import land as land
from tests.api_networks.land import Land


@dataclass
class Scene:
    """What the tests play with."""

    land: Land
    network: dict[str, Any]
    address: dict[str, Any]
    guests: tuple[dict[str, Any], ...]

    async def rule(self, **params: Any) -> dict[str, Any]:
        """A load balancer rule that its routers have."""
        return await self.land.job("createLoadBalancerRule", **self.given(**params))

    def given(self, **params: Any) -> dict[str, Any]:
        """The parameters of a rule."""
        plain = {
            "name": "web", "algorithm": "roundrobin", "publicport": 80, "privateport": 8080,
            "publicipid": self.address["id"],
        }  # fmt: skip
        return {**plain, **params}


@pytest.fixture
async def scene(land: Land) -> Scene:
    """Everything is there and running."""
    network = await land.network()
    guests = [await land.deploy(networkids=network["id"], name=name) for name in ("one", "two")]
    implemented = await land.implemented(network["id"])
    return Scene(land, implemented, await land.public_ip(implemented), tuple(guests))
