"""Signals: first one at a safe point, second at once; tried on real processes."""

import ast
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from aeterna_cli import errors
from aeterna_cli.signals import Stop

ROOT = Path(__file__).parents[2]

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


def stopped(number: int) -> Stop:
    stop = Stop()
    stop.request(number)
    return stop


@pytest.mark.parametrize("kind", [errors.FailedError, errors.RemoteError, errors.TransientError])
def test_what_broke_after_a_signal_is_told_as_the_stop(kind: type[errors.AeternaError]) -> None:
    broke = kind("helper_died", "the helper died", next_steps=["resume it"])
    broke.operation = "1"
    assert Stop().told(broke) is broke
    told = stopped(signal.SIGTERM).told(broke)
    assert (told.exit_code, told.operation, told.next_steps) == (143, "1", ("resume it",))
    assert told.hint == "while stopping: the helper died [helper_died]"
    assert stopped(signal.SIGINT).told(broke).exit_code == 130


def test_a_stop_is_told_as_the_signal_it_was() -> None:
    told = stopped(signal.SIGTERM).told(errors.InterruptedByUser("interrupted", "stopped there"))
    assert (told.exit_code, told.hint) == (143, "")
    own = errors.InterruptedByUser("interrupted", "stopped there")
    assert stopped(signal.SIGINT).told(own) is own


@pytest.mark.parametrize(
    "error",
    [
        errors.ConflictError("lease_lost", "x"),
        errors.FindingsError("restore_drift", "x"),
        errors.DegradedError("end_not_recorded", "x"),
        errors.RefusedError("object_missing", "x"),
    ],
    ids=lambda error: error.code,
)
def test_what_was_found_or_done_is_not_hidden_by_a_signal(error: errors.AeternaError) -> None:
    assert stopped(signal.SIGINT).told(error) is error


def test_no_helper_gets_the_terminals_signals() -> None:
    """Ctrl-C goes to a whole process group: helpers would die before the safe point."""
    found = 0
    for path in [*(ROOT / "aeterna_cli").rglob("*.py"), *(ROOT / "commands").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            if ast.unparse(node.func) not in ("subprocess.run", "subprocess.Popen"):
                continue
            found += 1
            words = {keyword.arg for keyword in node.keywords}
            assert words & {"process_group", "start_new_session"}, f"{path}:{node.lineno}"
            assert "stdin" in words, f"{path}:{node.lineno}: reading the terminal would stop it"
    assert found >= 6
