"""Guest networks and tiers, public addresses, and the rules that say what passes."""
