"""`python -m bench`: how much the product costs, against its goals, its peers and the limits of the machine.

Every group of benchmarks is a module with `NAMES` and `run(sizes)`, and runs in a process of its own: one that fails is
reported as failed with its reason, and the others go on. Peers (bench/peers) do the same work in the same run.
"""
