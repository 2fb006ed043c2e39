"""A lab for measurements: below ``.bench/`` in the checkout, with as much data as is asked for."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from aeterna_cli.context import Context, Flags
from aeterna_cli.lab import profile as lab_profile
from aeterna_cli.lab.deployment import Lab
from aeterna_cli.lab.postgres import DATABASE, superuser
from aeterna_cli.output.console import Output
from tests.bench.data import fill

ROOT = Path(__file__).parents[2] / ".bench"
PARTS = ("postgres", "redis", "s3", "vault", "qdrant")


@dataclass(frozen=True)
class Bench:
    lab: Lab
    folder: Path

    def profile(self, name: str, repository: dict[str, str] | None) -> None:
        """A profile with its own repository: a directory, or the lab's S3 for None."""
        tree = lab_profile.tree(self.lab.place())
        if repository is not None:
            tree["repository"] = repository
        else:
            tree["repository"]["url"] += f"-{name}"
        lines = lab_profile.table(f"profiles.{name}", tree)
        config = self.folder / "config.toml"
        known = config.read_text(encoding="utf-8") if config.exists() else ""
        if f"[profiles.{name}]" not in known:
            config.write_text(known + "\n".join(lines) + "\n", encoding="utf-8")

    @contextmanager
    def context(self, profile: str) -> Iterator[Context]:
        flags = Flags(profile=profile, yes=True, confirm=profile, quiet=True)
        ctx = Context(flags, Output("json", quiet=True), None)
        try:
            yield ctx
        finally:
            ctx.close()


@contextmanager
def bench(size: int) -> Iterator[Bench]:
    """A lab whose PostgreSQL holds ``size`` bytes of ``bench.rows``; down afterwards, data kept."""
    ROOT.mkdir(exist_ok=True)
    os.environ["AETERNA_CONFIG"] = str(ROOT / "config.toml")
    os.environ["AETERNA_LAB_DIR"] = str(ROOT / "lab")
    os.environ["XDG_STATE_HOME"] = str(ROOT / "state")
    os.environ["XDG_CACHE_HOME"] = str(ROOT / "cache")
    (ROOT / "config.toml").unlink(missing_ok=True)
    lab = Lab(ROOT / "lab")
    lab.up(PARTS)
    try:
        with superuser(lab.place(), DATABASE) as connection:
            found = connection.execute(
                "SELECT coalesce(pg_total_relation_size(to_regclass('bench.rows')), 0)"
            ).fetchone()
            if int(str((found or (0,))[0])) < size:
                connection.execute("DROP SCHEMA IF EXISTS bench CASCADE")
                fill(connection, size)
        yield Bench(lab, ROOT)
    finally:
        lab.down()
