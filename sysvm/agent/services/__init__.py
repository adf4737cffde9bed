"""Small daemons of our own that s6 runs beside the agent. Each is one file of standard library, started by its path."""
