"""``doctor --grants`` is enough for a whole backup and restore, and each line of it is needed."""

import json
import os
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from aeterna_cli.lab import profile as lab_profile
from aeterna_cli.stores import s3_condition, s3_store
from aeterna_cli.stores.s3_client import make_client
from tests.integration.deployment import NAME, Practice, practise
from tests.integration.workflows.doctor.narrow import Narrow, narrow

pytestmark = pytest.mark.integration


@pytest.fixture
def backup(practice: Practice, tmp_path: Path) -> Iterator[Narrow]:
    """Beside another role, whose schema and marker are there already."""
    practice.open().postgres.ensure_schema()
    with narrow(practice, tmp_path, "backup") as made:
        yield made


@pytest.fixture
def restore(practice: Practice, tmp_path: Path) -> Iterator[Narrow]:
    with narrow(practice, tmp_path, "restore") as made:
        yield made


def test_what_is_printed_is_enough(practice: Practice, backup: Narrow, restore: Narrow) -> None:
    narrow_backup, narrow_restore = ("--profile", backup.name), ("--profile", restore.name)
    backup.sql("DROP SCHEMA aeterna_ops CASCADE")  # on a server that never saw a backup
    backup.grant()
    practice.cli.ok("doctor", "--purpose", "backup", *narrow_backup)
    made = practice.cli.ok("backup", "create", *narrow_backup).data
    assert all(made["counts"].values())
    practice.cli.ok("backup", "wal", "receive", "--once", *narrow_backup)
    practice.cli.ok("doctor", "--purpose", "backup", *narrow_backup)
    practice.cli.ok("doctor", "--purpose", "restore", *narrow_restore)
    done = practice.cli.ok("restore", "run", "--confirm", restore.name, *narrow_restore).data
    assert done["backup"] == made["backup"]
    assert not done["drift"]


FORCED = """
CREATE TABLE forced (tenant text); INSERT INTO forced VALUES ('a'), ('b');
ALTER TABLE forced ENABLE ROW LEVEL SECURITY; ALTER TABLE forced FORCE ROW LEVEL SECURITY;
CREATE POLICY one_tenant ON forced USING (tenant = 'a')
"""

ROLE = '"narrow-backup"'
RESTORE_POINT = "ON FUNCTION pg_create_restore_point(text)"
SWITCH = "ON FUNCTION pg_switch_wal()"
LEFT_OUT = {
    f"ALTER ROLE {ROLE} NOREPLICATION": f"ALTER ROLE {ROLE} REPLICATION",
    f"REVOKE pg_read_all_data FROM {ROLE}": f"GRANT pg_read_all_data TO {ROLE}",
    f"REVOKE EXECUTE {RESTORE_POINT} FROM {ROLE}": f"GRANT EXECUTE {RESTORE_POINT} TO {ROLE}",
    f"REVOKE EXECUTE {SWITCH} FROM {ROLE}": f"GRANT EXECUTE {SWITCH} TO {ROLE}",
}


def test_a_backup_without_one_of_them_is_refused(practice: Practice, backup: Narrow) -> None:
    words = ("backup", "create", "--profile", backup.name)
    for statement, mend in LEFT_OUT.items():
        backup.sql(statement)
        ran = practice.cli(*words, "--store", "postgres")
        assert (ran.code, ran.error["code"]) == (6, "missing_privilege"), statement
        assert ran.error["hint"] == mend
        backup.sql(ran.error["hint"])  # what it says mends it
    no_marker = f"REVOKE ALL ON aeterna_ops.recovery_marker FROM {ROLE}"
    no_other = "REVOKE CONNECT ON DATABASE template1 FROM PUBLIC"
    for statement in (no_marker, no_other):
        backup.grant()
        backup.sql(statement)
        if statement == no_other:
            backup.sql(f"REVOKE CONNECT ON DATABASE template1 FROM {ROLE}")
        ran = practice.cli(*words, "--store", "postgres")
        assert (ran.code, ran.error["code"]) == (6, "missing_privilege"), statement
        judged = practice.cli("doctor", "--purpose", "backup", "--profile", backup.name)
        assert "may not use" in judged.out, statement
    backup.sql("GRANT CONNECT ON DATABASE template1 TO PUBLIC")
    backup.grant()
    # the policy of another key, and an ACL without the one command
    backup.vault_policy('path "transit/keys/other" { capabilities = ["read"] }')
    ran = practice.cli(*words, "--store", "redis")
    assert (ran.code, ran.error["code"]) == (6, "vault_denied")
    backup.grant()
    backup.acl("-psync")
    ran = practice.cli(*words, "--store", "redis")
    assert (ran.code, ran.error["code"]) == (6, "redis_permission_missing"), ran.err
    assert practice.open().repository.backups() == []
    backup.grant()
    practice.cli.ok(*words)


def test_rows_that_forced_row_security_hides_are_refused(
    practice: Practice, backup: Narrow
) -> None:
    words = ("backup", "create", "--store", "postgres", "--profile", backup.name)
    backup.sql(*FORCED.split(";"), f"ALTER ROLE {ROLE} NOBYPASSRLS")
    try:
        ran = practice.cli(*words)
        assert (ran.code, ran.error["code"]) == (6, "rows_hidden")
        assert ran.error["hint"] == f"ALTER ROLE {ROLE} BYPASSRLS"
        judged = practice.cli("doctor", "--purpose", "backup", "--profile", backup.name)
        hidden = [
            finding["details"]["tables"]
            for examined in judged.data["examined"]
            for finding in examined["findings"]
            if finding["code"] == "rows_hidden"
        ]
        assert "public.forced" in hidden[0]
        backup.sql(ran.error["hint"])
        practice.cli.ok(*words)
    finally:
        backup.sql("DROP TABLE forced")


def test_a_restore_without_one_of_them_is_refused(practice: Practice, restore: Narrow) -> None:
    practice.backup("--store", "redis")
    profile = ("--profile", restore.name)
    words = ("restore", "run", "--store", "redis", "--confirm", restore.name, *profile)
    restore.vault_policy('path "transit/keys/other" { capabilities = ["read"] }')
    ran = practice.cli(*words)
    assert (ran.code, ran.error["code"]) == (6, "vault_denied")
    restore.grant()
    restore.acl("-restore", "-replicaof", "-flushall")
    judged = practice.cli("doctor", "--purpose", "restore", *profile)
    assert judged.code == 8
    assert "redis_permission_missing" in judged.out
    ran = practice.cli(*words)
    assert (ran.code, ran.error["code"]) == (6, "redis_permission_missing")
    restore.grant()
    practice.cli.ok(*words)


#: the action that each request of the S3 client needs (Amazon S3, "Actions defined by Amazon S3")
ACTIONS = {
    "ListObjectsV2": "s3:ListBucket",
    "ListMultipartUploads": "s3:ListBucketMultipartUploads",
    "GetObject": "s3:GetObject",
    "HeadObject": "s3:GetObject",
    "PutObject": "s3:PutObject",
    "CreateMultipartUpload": "s3:PutObject",
    "UploadPart": "s3:PutObject",
    "CompleteMultipartUpload": "s3:PutObject",
    "AbortMultipartUpload": "s3:AbortMultipartUpload",
    "DeleteObjects": "s3:DeleteObject",
    "GetBucketVersioning": "s3:GetBucketVersioning",
    "GetObjectLockConfiguration": "s3:GetBucketObjectLockConfiguration",
}
#: doctor asks and says so where it may not
OPTIONAL = {"s3:GetBucketVersioning", "s3:GetBucketObjectLockConfiguration"}


class Asked:
    """What was asked of S3: an action and a key (a prefix where it lists)."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: set[tuple[str, str]] = set()

        def listened(settings: Any) -> Any:
            made = make_client(settings)
            made.meta.events.register("before-parameter-build.s3", self._take)
            return made

        monkeypatch.setattr(s3_store, "make_client", listened)
        monkeypatch.setattr(s3_condition, "make_client", listened)

    def _take(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        keys = [entry["Key"] for entry in params.get("Delete", {}).get("Objects", [])]
        for key in keys or [str(params.get("Key", params.get("Prefix", "")))]:
            self.calls.add((ACTIONS[model.name], key))

    def take(self) -> set[tuple[str, str]]:
        taken, self.calls = self.calls, set()
        assert taken
        return taken


def allowed(policy: dict[str, Any], bucket: str, action: str, key: str) -> bool:
    """Whether a statement allows it: resources and s3:prefix as AWS compares them."""
    for statement in policy["Statement"]:
        lists = action.startswith("s3:ListBucket")
        resource = f"arn:aws:s3:::{bucket}" + ("" if lists else f"/{key}")
        patterns = statement.get("Condition", {}).get("StringLike", {}).get("s3:prefix", ["*"])
        fits = not lists or any(fnmatchcase(key, pattern) for pattern in patterns)
        here = any(fnmatchcase(resource, pattern) for pattern in statement["Resource"])
        if action in statement["Action"] and here and fits:
            return True
    return False


def test_the_s3_policies_name_what_the_driver_asks_for(
    practice: Practice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lab's S3 does not enforce such policies: every request is held against them instead."""
    folder = tmp_path / "s3"
    folder.mkdir()
    bucket = "aeterna-backups"
    repository = lab_profile.tree(practice.lab.place())["repository"]
    repository["url"] = f"s3://{bucket}/grants-{os.getpid()}"
    here = practise(practice.lab, practice.cli, folder, monkeypatch, repository=repository)
    asked = Asked(monkeypatch)
    runs = {
        "backup": (("doctor", "--purpose", "backup"), ("backup", "create")),
        "restore": (
            ("doctor", "--purpose", "restore"),
            ("restore", "run", "--store", "redis", "--store", "qdrant", "--confirm", NAME),
        ),
    }
    for purpose, commands in runs.items():
        printed = here.cli.ok("doctor", "--grants", "--purpose", purpose).data["s3"]
        policy = json.loads(printed)
        for words in commands:
            here.cli.ok(*words)
        calls = asked.take()
        refused = {
            (action, key)
            for action, key in calls
            if action not in OPTIONAL and not allowed(policy, bucket, action, key)
        }
        assert not refused, purpose
        data = {key for action, key in calls if "/backups/" in key and "List" not in action}
        assert data
        assert not any(allowed(policy, bucket, "s3:DeleteObject", key) for key in data)
