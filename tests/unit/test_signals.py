"""Signals: first one at a safe point, second at once; tried on real processes."""

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import sys, threading
from aeterna_cli import signals
from aeterna_cli.errors import AeternaError
signals.GRACE = {grace}
stop = signals.Stop(); stop.install()
print("ready", flush=True)
try:
    while True:
        threading.Event().wait(0.02)
        if {safe}: stop.check()
except AeternaError as error:
    print(error.code, flush=True)
    sys.exit(error.exit_code)
"""


def start(*, safe: bool, grace: float) -> subprocess.Popen[str]:
    code = PROGRAM.format(safe=safe, grace=grace)
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize(
    ("number", "exit_code", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_the_first_signal_stops_at_a_safe_point(number: int, exit_code: int, word: str) -> None:
    process = start(safe=True, grace=60)
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out.strip()) == (exit_code, word)
    assert "next safe point" in err


def test_without_a_safe_point_it_stops_after_the_grace() -> None:
    process = start(safe=False, grace=0.3)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=20)
    assert (process.returncode, out.strip()) == (143, "terminated")


def test_the_second_signal_leaves_at_once() -> None:
    process = start(safe=False, grace=60)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    process.stderr.readline()  # the empty line
    process.stderr.readline()  # the first signal was taken
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 130
