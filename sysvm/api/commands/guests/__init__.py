"""Guests: deployed, changed, moved, grouped, kept as snapshots, and what they are given: keys, user data, a screen."""
