"""Programs of others, run to their end."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


def run(
    words: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
) -> subprocess.CompletedProcess[str]:
    """The program has ended when this returns; its output is text, its exit code is not judged.

    It has a process group of its own, so Ctrl-C in a terminal ends it only through us, and no
    input. ``OSError`` where it cannot be started, ``subprocess.TimeoutExpired`` when it was killed.
    """
    return subprocess.run(
        list(words),
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout,
        check=False,
        process_group=0,
    )
