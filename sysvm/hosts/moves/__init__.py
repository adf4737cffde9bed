"""A router's service, or a guest, goes from one incarnation or host to another."""
