"""The console relay: a process of its own, through which console proxies reach screens on this host."""
