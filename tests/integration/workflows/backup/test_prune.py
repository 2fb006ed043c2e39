"""``backup prune`` on real servers: only what may go goes, wherever it is killed."""

from pathlib import Path

import pytest

from aeterna_cli.context import Context, Flags
from aeterna_cli.errors import ExitCode
from aeterna_cli.operations.runner import kill_points
from aeterna_cli.output.console import Output
from aeterna_cli.repository.retention import Policy
from aeterna_cli.workflows.backup import prune
from aeterna_cli.workflows.backup.prune_choice import choose
from tests.integration.deployment import Practice

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

STRICT = ("--window-days", "0", "--keep-last", "1", "--minimum", "1")
OLD = "20200101T000000Z-abcdef"


def small(practice: Practice) -> str:
    return str(practice.backup("--store", "redis")["backup"])


def folders(practice: Practice) -> set[str]:
    return {path.name for path in (practice.repository / "backups").iterdir()}


def listed(practice: Practice) -> list[str]:
    return [one["backup"] for one in practice.cli.ok("backup", "list").data]


def test_the_policy_decides_and_says_why(practice: Practice) -> None:
    first, second, third = small(practice), small(practice), small(practice)
    shown = practice.cli.ok("backup", "prune", *STRICT, "--dry-run").data
    assert shown["dry_run"]
    assert [(one["backup"], one["keep"]) for one in shown["backups"]] == [
        (first, False),
        (second, False),
        (third, True),
    ]
    assert folders(practice) == {first, second, third}
    assert "one of the newest 1" in practice.cli.ok("backup", "prune", *STRICT, "--dry-run", "-o",
                                                    "table").out  # fmt: skip
    done = practice.cli.ok("backup", "prune", *STRICT, "--yes").data
    assert done["deleted_objects"]["backups"] > 3
    assert folders(practice) == {third}
    assert listed(practice) == [third]
    states = {
        one["backup"]: one["state"] for one in practice.cli.ok("backup", "list", "--all").data
    }
    assert states == {first: "pruned", second: "pruned", third: "ok"}
    practice.cli.ok("backup", "verify", third)
    again = practice.cli.ok("backup", "prune", *STRICT).data
    assert not again["operation"]


def test_without_a_yes_nothing_goes(practice: Practice) -> None:
    first, second = small(practice), small(practice)
    ran = practice.cli("backup", "prune", *STRICT)
    assert ran.code == ExitCode.REFUSED
    assert "--yes" in ran.err
    assert folders(practice) == {first, second}


@pytest.mark.parametrize("flag", ["--keep-last", "--minimum"])
def test_a_policy_that_keeps_nothing_is_refused(practice: Practice, flag: str) -> None:
    small(practice)
    ran = practice.cli("backup", "prune", flag, "0", "--yes")
    assert ran.code == ExitCode.USAGE
    assert len(folders(practice)) == 1


def test_the_minimum_and_the_default_window_keep(practice: Practice) -> None:
    small(practice), small(practice)
    kept = practice.cli.ok("backup", "prune", "--yes").data
    assert all(one["keep"] for one in kept["backups"])
    asked = ("--window-days", "0", "--keep-last", "1", "--minimum", "2")
    kept = practice.cli.ok("backup", "prune", *asked, "--yes").data
    assert [one["reasons"] for one in kept["backups"]] == [
        ["the minimum is 2"],
        ["one of the newest 1"],
    ]


def test_what_never_became_a_backup_goes_after_a_day(practice: Practice) -> None:
    kept = small(practice)
    young = kept[:-6] + "ffffff"
    for name in (OLD, young):
        folder = practice.repository / "backups" / name / "redis"
        folder.mkdir(parents=True)
        (folder / "rdb.zst.age.00000").write_bytes(b"half")
    done = practice.cli.ok("backup", "prune", "--yes").data
    assert done["unfinished"] == [OLD]
    assert done["unfinished_kept"] == [young]
    assert folders(practice) == {kept, young}


def test_an_unreadable_manifest_stays_and_keeps_all_wal(practice: Practice) -> None:
    first = practice.backup()["backup"]
    practice.cli.ok("backup", "wal", "receive", "--once", "--yes")
    before = sorted((practice.repository / "wal").rglob("*"))
    small(practice)
    small(practice)
    manifest = practice.repository / "backups" / first / "manifest.json"
    manifest.chmod(0o600)
    manifest.write_bytes(manifest.read_bytes().replace(b'"note":""', b'"note":"x"'))
    done = practice.cli.ok("backup", "prune", *STRICT, "--yes").data
    assert first in folders(practice)
    assert first in done["wal_kept_because"]
    assert sorted((practice.repository / "wal").rglob("*")) == before


def test_wal_that_a_kept_backup_needs_stays(practice: Practice) -> None:
    first = practice.backup()["backup"]
    practice.cli.ok("backup", "wal", "receive", "--once", "--yes")
    with practice.sql() as connection:
        for _ in range(3):
            connection.execute("SELECT pg_switch_wal()")
            connection.execute("CREATE TABLE IF NOT EXISTS prune_probe (n int)")
            connection.execute("INSERT INTO prune_probe VALUES (1)")
    practice.cli.ok("backup", "wal", "receive", "--once", "--yes")
    before = chunks(practice)
    second = practice.backup()["backup"]
    with practice.sql() as connection:
        connection.execute("INSERT INTO prune_probe VALUES (2)")
    practice.cli.ok("backup", "wal", "receive", "--once", "--yes")
    done = practice.cli.ok("backup", "prune", *STRICT, "--yes").data
    after = chunks(practice)
    assert folders(practice) == {second}
    assert first in [one["backup"] for one in done["backups"] if not one["keep"]]
    assert done["wal_chunks"] == done["deleted_objects"]["wal"] > 0
    assert before - after
    practice.destroy("postgres")
    practice.cli.ok("restore", "run", "--store", "postgres", "--confirm", "practice")
    with practice.sql() as connection:
        row = connection.execute("SELECT count(*) FROM prune_probe").fetchone()
    assert row is not None
    assert row[0] == 3


def chunks(practice: Practice) -> set[Path]:
    return {path for path in (practice.repository / "wal").rglob("*-*") if path.is_file()}


@pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.soak)])
def test_killed_at_its_points(practice: Practice, every: int) -> None:
    """Every fourth one here, all of them in `make soak`."""
    ctx = Context(Flags(), Output(), None)
    small(practice)
    made = prune.plan(ctx, choose(ctx.deployment.repository, Policy(0, 1, 1)))
    points = list(kill_points(made))[::every]
    ctx.close()
    survived = []
    for point in points:
        kept = small(practice)
        orphan = practice.repository / "backups" / OLD / "redis"
        orphan.mkdir(parents=True, exist_ok=True)
        (orphan / "rdb.zst.age.00000").write_bytes(b"half")
        if not practice.killed_at(point, "backup", "prune", *STRICT, "--yes"):
            survived.append(point)
        for one in listed(practice):  # whatever is listed is whole
            practice.cli.ok("backup", "verify", one)
        unfinished = practice.operations("--unfinished")
        if unfinished:
            practice.cli.ok("operation", "resume", unfinished[-1]["operation"], "--yes")
        else:
            practice.cli.ok("backup", "prune", *STRICT, "--yes")
        assert folders(practice) == {kept}, point
        assert practice.operations("--unfinished") == [], point
    assert all(point.endswith(":middle") for point in survived)
