"""Chaos: many processes spend one session's money while they fail in every way there is.

`python -m tests.chaos` runs seeds. `plan` draws from a seed what happens, `provider` keeps its own
bill, `worker` is one of the processes, `fleet` starts and kills them, `verdict` compares the bill
with the books. What is drawn follows from the seed; how it interleaves is the system's.
"""
