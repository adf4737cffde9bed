"""Volumes, snapshots of them, and the pools they live in."""
