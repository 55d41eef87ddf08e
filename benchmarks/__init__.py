"""Measurements of the server: what a chunk costs, how long an ack takes, what a session holds in memory.

`python -m benchmarks <name>` measures a real server in a process of its own; docs/benchmarks.md says what the
numbers mean and what they are held to.
"""
