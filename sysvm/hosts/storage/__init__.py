"""What machines of this host keep: pools, volumes, images that come, snapshots that go."""
