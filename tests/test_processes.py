"""What a process says is read to its last line, however its lines arrive."""

import signal
import subprocess
import sys

from tests.processes import rest_of


def python(program: str) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", program], stdout=pipe, stderr=pipe, text=True)


def test_lines_that_came_together_are_all_there() -> None:
    with python(r"import os; os.write(1, b'one\ntwo\nthree\n'); os.write(2, b'four\n')") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "one\n"
        assert rest_of(process) == ("two\nthree\n", "four\n")
    assert process.returncode == 0


def test_one_that_does_not_end_is_ended() -> None:
    with python("print('here', flush=True); import signal; signal.pause()") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        assert rest_of(process, within=0.05) == ("", "")
    assert process.returncode == -signal.SIGKILL
