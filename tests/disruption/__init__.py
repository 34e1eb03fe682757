"""Disruption: processes spend one session's money while the machine works against them.

`python -m tests.disruption` runs seeds. Where `tests.chaos` lets providers and programs fail, here
it is the system that interferes: signals and exceptions that arrive anywhere, forks in threads,
copies of the file, other PID namespaces, stopped and killed processes, clocks that jump, volumes
that fill up. `plan` draws from a seed what happens, `worker` is one of the processes,
`interference` what it does to itself, `fleet` what is done to it. `tests.chaos` has the provider
and the verdict.
"""
