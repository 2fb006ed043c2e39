"""``backup create`` against pg_basebackup into zstd, and against barman-cloud-backup into S3."""

import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from time import perf_counter

from aeterna_cli.lab.deployment import Lab
from aeterna_cli.lab.postgres import programs, secret_name
from aeterna_cli.lab.seaweedfs import ACCESS_KEY, BUCKET, SECRET_KEY
from aeterna_cli.output.tables import human_bytes
from aeterna_cli.stores.object_store import open_store
from aeterna_cli.workflows.backup import create
from aeterna_cli.workflows.repository import init
from tests.bench.data import checked_ratio
from tests.bench.pairs import compare, peak_bytes, seconds, shell
from tests.bench.practice import Bench

BARMAN = "3.19.1"


def directory(bench: Bench, pairs: int) -> list[str]:
    """Into a directory repository, encrypted; data path only (no row is read for digests)."""
    folder = bench.folder / "repository"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(bench.folder / "state" / "aeterna-cli" / "directory", ignore_errors=True)
    bench.profile("directory", {"url": str(folder)})
    with bench.context("directory") as ctx:
        init.run(ctx)
    last = {}

    def ours() -> None:
        with bench.context("directory") as ctx:
            asked = create.options(["postgres"], None, "", "0", digests=False)
            last["made"] = create.run(ctx, asked).data
        shutil.rmtree(folder / "backups")

    base = f"{programs()}/pg_basebackup -c fast -Ft -X none -D -"
    ratio = compare(
        "backup into a directory, encrypted, against pg_basebackup | zstd -1 -T2",
        ours,
        lambda: shell(f"{base} | zstd -1 -T2 -q > /dev/null", **_postgres(bench.lab)),
        at_least=0.9,
        pairs=pairs,
    )
    made = last["made"]
    tar = bench.folder / "base.tar"
    shell(f"{base} > '{tar}'", **_postgres(bench.lab))
    words = [sys.executable, "-m", "aeterna_cli", "backup", "create", "-p", "directory", "-q"]
    peak, _ = peak_bytes([*words, "--store", "postgres", "--no-digests"], dict(os.environ))
    began = perf_counter()
    with bench.context("directory") as ctx:
        with_digests = create.run(ctx, create.options(["postgres"], None, "", "0")).data
    whole = perf_counter() - began
    lines = [
        f"data: {human_bytes(made.plain_bytes)} that zstd -1 makes {checked_ratio(tar):.2f} times"
        f" smaller; stored {human_bytes(made.stored_bytes)}",
        ratio.line(),
        f"peak memory of the whole process tree: {human_bytes(peak)} (target < 300 MB:"
        f" {'met' if peak < 300_000_000 else 'MISSED'})",
        f"with a digest of every row: {whole:.2f} s ({with_digests.counts['rows']:,} rows)",
    ]
    tar.unlink()
    return lines


def s3(bench: Bench, pairs: int) -> list[str]:
    """Into the lab's S3, against barman-cloud-backup with snappy and two jobs."""
    tool = _barman(bench.folder)
    bench.profile("s3", None)
    with bench.context("s3") as ctx:
        objects = ctx.deployment.objects
        objects.delete([item.key for item in objects.list("")])
        shutil.rmtree(ctx.state_directory, ignore_errors=True)
        init.run(ctx)

    sizes: dict[str, int] = {}

    def ours() -> None:
        with bench.context("s3") as ctx:
            asked = create.options(["postgres"], None, "", "0", digests=False)
            sizes["ours"] = create.run(ctx, asked).data.stored_bytes

    place = bench.lab.place()
    environment = {
        **_postgres(bench.lab),
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": place.secrets.read(SECRET_KEY) or "",
        "AWS_REGION": "us-east-1",
    }

    def theirs() -> None:
        shell(
            f"'{tool}' --snappy -J 2 --immediate-checkpoint --endpoint-url {place.url('s3')}"
            f" -h 127.0.0.1 -p {place.ports['postgres']} -U postgres"
            f" s3://{BUCKET}/barman lab",
            **environment,
        )

    def swept() -> None:
        sizes["theirs"] = _emptied(bench, "barman") or sizes.get("theirs", 0)
        with bench.context("s3") as ctx:
            objects = ctx.deployment.objects
            objects.delete([item.key for item in objects.list("backups/")])

    start = statistics.median(seconds(lambda: shell(f"'{tool}' --help > /dev/null")) for _ in "abc")
    ratio = compare(
        f"backup into S3, encrypted, against barman-cloud-backup {BARMAN} --snappy -J 2",
        ours,
        theirs,
        at_least=1.5,
        pairs=pairs,
        their_start=start,
        after=swept,
    )
    return [
        f"{ratio.line()}; the start of their process, {start:.2f} s, is taken off",
        f"stored: ours {human_bytes(sizes['ours'])} (encrypted, with its own WAL),"
        f" theirs {human_bytes(sizes['theirs'])} (not encrypted, without WAL)",
    ]


def _emptied(bench: Bench, prefix: str) -> int:
    """The bytes that were stored under another prefix of the same bucket; nothing is there now."""
    with bench.context("s3") as ctx:
        settings = ctx.profile.repository.model_copy(update={"url": f"s3://{BUCKET}/{prefix}"})
        store = open_store(settings)
        found = list(store.list(""))
        store.delete([item.key for item in found])
        return sum(item.size for item in found)


def _postgres(lab: Lab) -> dict[str, str]:
    place = lab.place()
    password = place.secrets.read(secret_name("postgres")) or ""
    return {
        "PGHOST": "127.0.0.1",
        "PGPORT": str(place.ports["postgres"]),
        "PGUSER": "postgres",
        "PGPASSWORD": password,
    }


def _barman(folder: Path) -> Path:
    """The tool in an environment of its own, made at the first use."""
    venv = folder / "barman"
    tool = venv / "bin" / "barman-cloud-backup"
    if not tool.exists():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        wanted = f"barman[cloud,snappy]=={BARMAN}"
        pip = [str(venv / "bin" / "pip"), "install", "-q", wanted, "psycopg2-binary"]
        subprocess.run(pip, check=True)
    return tool
