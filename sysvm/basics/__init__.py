"""What every part needs and no domain knows: time, ids, logs, errors, tasks, fault points, digests."""
