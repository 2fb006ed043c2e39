"""``doctor --grants`` for looking at tenants, writing one back, moving one: enough, and needed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from aeterna_cli.lab.postgres import DATABASE, superuser
from aeterna_cli.lab.valkey import client
from aeterna_cli.stores.redis_privileges import PASSWORD_HASH, password_hash
from tests.integration.deployment import Practice, practise
from tests.integration.workflows.shard.sharding import LARGE, sharding
from tests.integration.workflows.tenant_lab import look

pytestmark = pytest.mark.integration

PASSWORD = "narrow-t3"
ROLE = '"narrow tenant"'


@dataclass(frozen=True)
class Narrow:
    practice: Practice
    printed: dict[str, str]

    def sql(self, *statements: str) -> None:
        with superuser(self.practice.lab.place(), DATABASE) as server:
            for statement in statements:
                server.execute(statement.encode())


@contextmanager
def narrow(
    practice: Practice,
    folder: Path,
    patch: pytest.MonkeyPatch,
    purpose: str,
    **more: dict[str, Any],
) -> Iterator[Narrow]:
    """A deployment whose users have what is printed, and no more."""
    password = folder / "password"
    password.write_text(PASSWORD, encoding="utf-8")
    password.chmod(0o600)
    before = "restore_" if purpose == "tenant-restore" else ""
    sections: dict[str, Any] = {
        "postgres": {f"{before}user": "narrow tenant", f"{before}password_file": str(password)},
        **more,
    }
    if purpose == "read":
        sections["redis"] = {"user": "aeterna_read", "password_file": str(password)}
    (folder / "narrow").mkdir()
    here = practise(practice.lab, practice.cli, folder / "narrow", patch, **sections)
    made = Narrow(here, here.cli.ok("doctor", "--grants", "--purpose", purpose).data)
    made.sql(made.printed["postgres"], f"ALTER ROLE {ROLE} PASSWORD '{PASSWORD}'")
    with client(practice.lab.place()) as redis:
        try:
            if purpose == "read":
                line = made.printed["redis"].replace(PASSWORD_HASH, password_hash(PASSWORD))
                redis.execute_command(*line.split())
            yield made
        finally:
            redis.execute_command("ACL", "DELUSER", "aeterna_read")
            made.sql(
                "ALTER SCHEMA aeterna_ops OWNER TO aeterna_backup",
                f"REASSIGN OWNED BY {ROLE} TO aeterna_backup",
                f"DROP OWNED BY {ROLE}",
                f"DROP ROLE {ROLE}",
            )


LOOKS = (
    ("tenant", "list", "--all-stores"),
    ("tenant", "show", "acme-corp"),
    ("tenant", "classify"),
    ("datamap", "show"),
    ("datamap", "check"),
)


def test_who_may_read_may_look_at_everything(
    practice: Practice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    practice.open().postgres.ensure_schema()
    practice.open().placement.ensure_schema()
    with narrow(practice, tmp_path, monkeypatch, "read") as made:
        for words in LOOKS:
            made.practice.cli.ok(*words)
        for taken in (f"ALTER ROLE {ROLE} NOBYPASSRLS", f"REVOKE pg_read_all_data FROM {ROLE}"):
            made.sql(taken)
            refused = made.practice.cli("tenant", "list")
            assert refused.code == 6
            assert refused.error["code"] in ("rows_hidden", "missing_privilege")
            judged = made.practice.cli("datamap", "check", "--store", "postgres")
            assert judged.code == 8
            mends = [one["mend"] for one in judged.data["findings"]]
            assert any(refused.error["next_steps"][0].split(" ON ")[0] in one for one in mends)
            made.sql(*refused.error["next_steps"])
            if "pg_read_all_data" in taken:  # every table of the application; ours are left
                blind = made.practice.cli("datamap", "check", "--store", "qdrant")
                assert blind.code == 8
                made.sql(blind.data["findings"][0]["mend"])
            made.practice.cli.ok("tenant", "list")
            made.practice.cli.ok("datamap", "check")
            made.sql(made.printed["postgres"])
        written = made.practice.cli("shard", "add", "x", "--collection", LARGE, "--yes")
        assert written.code == 6, written.err


def test_who_may_write_a_tenant_back(
    practice: Practice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with narrow(practice, tmp_path, monkeypatch, "tenant-restore") as made:
        cli = made.practice.cli
        backup = cli.ok("backup", "create", "--tenant-id", "initech").data["backup"]
        words = ("restore", "run", "--tenant-id", "initech", "--backup", backup)
        words += ("--mode", "replace", "--confirm", "initech")
        with practice.sql() as server:
            gone = server.execute(
                "DELETE FROM memory_entries WHERE tenant_id IN"
                " (SELECT unnest(ARRAY[id::text, slug]) FROM tenants WHERE slug = 'initech')"
            ).rowcount
        done = cli.ok(*words).data
        assert not done["drift"]
        inserted = {one["table"]: one["inserted"] for one in done["tables"]}
        assert inserted["memory_entries"] == gone > 0
        parameter = "SET ON PARAMETER session_replication_role"
        for taken, code in (
            (f"REVOKE {parameter} FROM {ROLE}", "replication_role_refused"),
            (f"REVOKE pg_write_all_data FROM {ROLE}", "missing_privilege"),
            (f"ALTER ROLE {ROLE} NOBYPASSRLS", "rows_hidden"),
        ):
            made.sql(taken)
            refused = cli(*words)
            assert (refused.code, refused.error["code"]) == (6, code)
            made.sql(*refused.error["next_steps"])
            cli.ok(*words)
            made.sql(made.printed["postgres"])


def test_who_may_move_keeps_shards_and_placements(
    practice: Practice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with narrow(practice, tmp_path, monkeypatch, "move") as made, sharding(made.practice) as shards:
        made.sql(made.printed["postgres"])
        shards.cli("add", "large", "--collection", LARGE, "--yes")
        assert [one["name"] for one in shards.cli("list")["shards"]] == ["large"]
        made.practice.cli.ok("datamap", "check", "--store", "qdrant")
        shards.cli("drain", "large", "--yes")
        shards.cli("remove", "large", "--yes")
        rights = "SELECT has_table_privilege(%s, 'tenants', 'UPDATE')"
        with practice.sql() as server:
            assert server.execute(rights, ("narrow tenant",)).fetchone() == (False,)


def test_who_may_move_moves_a_tenant_there_and_back(
    practice: Practice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = ["sh", "-c", "exit 0"]
    contract = {"contract": "maintenance", "hold": program, "switch": program, "release": program}
    before = look(practice, "large-corp")
    with (
        monkeypatch.context() as patch,
        narrow(practice, tmp_path, patch, "move", application=contract) as made,
        sharding(made.practice) as shards,
    ):
        made.sql(made.printed["postgres"])
        config = shards.qdrant("GET", f"/collections/{LARGE}")["config"]["params"]
        shards.qdrant("PUT", "/collections/elsewhere", {"vectors": config["vectors"]})
        shards.cli("add", "large", "--collection", LARGE, "--yes")
        shards.cli("add", "elsewhere", "--collection", "elsewhere", "--yes")
        moving = ("--tenant-id", "large-corp", "--yes")
        words = ("tenant", "migrate", *moving, "--to-shard", "elsewhere", "--from", LARGE, "--wait")
        made.sql(f"REVOKE ALL ON SCHEMA aeterna_ops FROM {ROLE}")
        refused = made.practice.cli(*words)
        assert (refused.code, refused.error["code"]) == (6, "missing_privilege")
        made.sql(made.printed["postgres"])
        assert made.practice.cli.ok(*words).data["served_by"] == "elsewhere"
        done = made.practice.cli.ok("tenant", "migration", "rollback", *moving).data
        assert (done["phase"], done["served_by"]) == ("rolled-back", "large")
        made.sql("DROP TABLE aeterna_ops.tenant_move")
    assert look(practice, "large-corp") == before
