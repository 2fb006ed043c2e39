"""``make bench``: every figure that this project claims, as ratios in one run.

``python -m tests.bench startup backup restore rpo rounds classify move live-moves switchover``
chooses; ``--size 2G --pairs 7`` are what counts, smaller ones are for trying. All from ``rpo`` on
have servers of their own.
"""

import argparse
import platform
import sys
from collections.abc import Callable

from aeterna_cli.workflows.words import size
from tests.bench import (
    backup,
    classify,
    live_moves,
    move,
    restore,
    rounds,
    rpo,
    startup,
    switchover,
)
from tests.bench.practice import Bench, bench

Measure = Callable[[Bench, int], list[str]]
ON_DATA: dict[str, tuple[Measure, ...]] = {
    "backup": (backup.directory, backup.s3),
    "restore": (restore.measure,),
}
ON_THEIR_OWN = {
    "rpo": rpo.run,
    "rounds": rounds.run,
    "classify": classify.run,
    "move": move.run,
    "live-moves": live_moves.run,
    "switchover": switchover.run,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("what", nargs="*", default=["startup", *ON_DATA, *ON_THEIR_OWN])
    parser.add_argument("--size", default="2G")
    parser.add_argument("--pairs", type=int, default=7)
    asked = parser.parse_args()
    print(f"{platform.machine()}, {platform.platform()}, Python {platform.python_version()}")
    if "startup" in asked.what:
        say([one.line() for one in startup.run()])
    wanted = [name for name in ON_DATA if name in asked.what]
    if wanted:
        with bench(size(asked.size)) as ready:
            for name in wanted:
                for measure in ON_DATA[name]:
                    say(measure(ready, asked.pairs))
    for name, alone in ON_THEIR_OWN.items():
        if name in asked.what:
            say(alone())
    return 0


def say(lines: list[str]) -> None:
    for line in lines:
        print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
