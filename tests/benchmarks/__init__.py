"""Figures, not tests: what the engine reaches beside what the machine could do in the same run.

``python -m tests.benchmarks`` prints one table. Each workload runs in a process of its own, on a
database of its own, with the settings that a user has by default. A figure that has a limit of
the machine beside it is measured in turns with it, and the best of each counts, because other
programs on the machine only ever make both slower.
"""
