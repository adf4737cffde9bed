"""What the host's own system gives: programs, mounts, namespaces, files that last, access of users."""
