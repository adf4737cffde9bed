"""The host agent: what a server asks of a host, made true with containers, VMs, bridges and volumes."""
