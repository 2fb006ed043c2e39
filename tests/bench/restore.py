"""Unpacking a base backup against ``age -d | zstd -d | tar x``, and a whole restore beside it."""

import shutil
import sys
from time import perf_counter

from aeterna_cli.output.tables import human_bytes
from aeterna_cli.workflows.backup import create
from aeterna_cli.workflows.repository import init
from aeterna_cli.workflows.restore import run
from aeterna_cli.workflows.restore.choice import choose
from aeterna_cli.workflows.restore.opened import OpenedBackup
from aeterna_cli.workflows.restore.postgres_scratch_recovery import discard, unpack
from tests.bench.pairs import compare, shell
from tests.bench.practice import Bench

#: The age program is in no Python package: the format's own library in a process takes its place.
AGE = f"'{sys.executable}' -P -m aeterna_cli.repository.age_process decrypt 3 3< '{{identity}}'"


def measure(bench: Bench, pairs: int) -> list[str]:
    """From a directory repository; ours checks every hash, every name and the signature too."""
    folder = bench.folder / "restored-repository"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(bench.folder / "state" / "aeterna-cli" / "restore", ignore_errors=True)
    bench.profile("restore", {"url": str(folder)})
    with bench.context("restore") as ctx:
        init.run(ctx)
        made = create.run(ctx, create.options(["postgres"], None, "", "0", digests=False)).data
    parts = folder / "backups" / made.backup / "postgres"
    data, other = bench.folder / "unpacked", bench.folder / "untarred"
    identity = bench.folder / "identity"

    def ours() -> None:
        with bench.context("restore") as ctx:
            unpack(OpenedBackup.open(ctx.deployment, made.backup), data)

    def theirs(first: str) -> None:
        shutil.rmtree(other, ignore_errors=True)
        other.mkdir()
        shell(f"{first} | zstd -d -q | tar x -C '{other}'")

    with bench.context("restore") as ctx:
        opened = OpenedBackup.open(ctx.deployment, made.backup)
        identity.touch(mode=0o600)
        identity.write_text(opened.identity, encoding="ascii")
    try:
        sealed = f"cat '{parts}'/base.tar.zst.age.*"
        ratio = compare(
            "restore of a base backup from a directory against age -d | zstd -d | tar x",
            ours,
            lambda: theirs(f"{sealed} | {AGE.format(identity=identity)}"),
            at_least=0.8,
            pairs=pairs,
        )
        packed = bench.folder / "base.tar.zst"
        shell(f"{sealed} | {AGE.format(identity=identity)} > '{packed}'")
        began = perf_counter()
        theirs(f"cat '{packed}'")
        plain = perf_counter() - began
        packed.unlink()
    finally:
        identity.unlink()
    discard(data)
    shutil.rmtree(other)
    return [
        ratio.line(),
        f"unpacked {human_bytes(made.plain_bytes)}; plain zstd -d | tar x, nothing encrypted:"
        f" {plain:.2f} s",
        _whole(bench, made.backup),
    ]


def _whole(bench: Bench, backup: str) -> str:
    """Fetched, unpacked, recovered by a scratch server and compared, into a directory."""
    data = bench.folder / "whole"
    discard(data)
    nothing = dict.fromkeys(("at", "lsn", "name", "into", "allow_skew", "identity"))
    choice = choose(backup, store=["postgres"], data_dir=str(data), **nothing)
    began = perf_counter()
    with bench.context("restore") as ctx:
        run.run(ctx, choice)
    took = perf_counter() - began
    discard(data)
    return f"restore run --data-dir, recovery and comparison included: {took:.2f} s"
