"""The parts of a simulated host; see hosts/simulator.py."""
