"""VPNs: remote access, site to site, WireGuard."""
