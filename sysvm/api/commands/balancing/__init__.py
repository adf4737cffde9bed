"""Load balancers of networks and tiers, their members, policies and certificates."""
