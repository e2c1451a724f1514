"""``restore-bench``: its options, and one module a command; ``python -m benchmarks.commands.demo``."""
