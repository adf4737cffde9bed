"""VPCs: their life, access lists, private gateways, static routes."""
