"""Reading what a process that a test has started still says."""

import subprocess
import threading


def rest_of(process: subprocess.Popen[str], within: float = 60.0) -> tuple[str, str]:
    """Return what a process writes from here on to its pipes, and wait for its end.

    Not `communicate`, which reads past the pipe's text buffer: it loses every line that came
    along with one that `readline` had returned. A process still alive after `within` seconds is
    killed, which its exit code shows.
    """
    overdue = threading.Timer(within, process.kill)
    overdue.start()
    try:
        out, errors = (pipe.read() if pipe else "" for pipe in (process.stdout, process.stderr))
        process.wait()
    finally:
        overdue.cancel()
    return out, errors
