"""Zones, pods, clusters, hosts, physical networks and their ranges of addresses and VLANs."""
