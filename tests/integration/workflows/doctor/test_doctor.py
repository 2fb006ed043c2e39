"""``doctor`` on real servers: silent where all is well, and every finding provoked for real."""

import os
import re
import shutil
import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from aeterna_cli.lab.openbao import ROOT_TOKEN
from aeterna_cli.lab.valkey import client
from tests.integration.deployment import Practice, practise
from tests.integration.stores.qdrant_server import FaultProxy, Rule
from tests.integration.stores.test_qdrant_tls import certificate

pytestmark = pytest.mark.integration

SECRET = "x7-not-the-password"
CLOSED = "1"  # a port where nobody listens


def found(practice: Practice, *words: str) -> dict[str, dict[str, Any]]:
    """The findings of a run that must find something, by code."""
    ran = practice.cli("doctor", *words)
    assert ran.code == 8, ran.err
    assert "Traceback" not in ran.err
    assert SECRET not in ran.out + ran.err
    return {one["code"]: {**one, "look": e["subject"]} for e, one in _each(ran.data)}


def _each(data: Any) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for examined in data["examined"]:
        for one in examined["findings"]:
            yield examined, one


def test_a_healthy_deployment_has_no_failing_finding(practice: Practice) -> None:
    practice.backup()
    ran = practice.cli.ok("doctor")
    assert (ran.schema, ran.data["errors"], ran.data["warnings"]) == ("aeterna.doctor/1", 0, 0)
    subjects = {one["subject"]: one["answer"] for one in ran.data["examined"] if one["answered"]}
    assert len(subjects) == len(ran.data["examined"])
    assert "wal_level logical" in subjects["PostgreSQL"]
    assert "was taken and removed" in subjects["Qdrant, snapshots"]
    assert subjects["key service, unwrapping"] == "what was wrapped opens again"
    assert subjects["newest backup's key"].endswith(" opens")
    assert subjects["clock of Redis"] == "within 2 s"
    assert not list(practice.repository.glob("probe/*"))


def set_all(monkeypatch: pytest.MonkeyPatch, values: dict[str, str]) -> None:
    for name, value in values.items():
        monkeypatch.setenv(f"AETERNA_{name}", value)


def test_refused_credentials_are_findings_and_the_rest_goes_on(
    practice: Practice, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = ("POSTGRES__PASSWORD", "REDIS__PASSWORD", "QDRANT__API_KEY", "KEYS__TOKEN")
    set_all(monkeypatch, dict.fromkeys(secrets, SECRET))
    seen = found(practice)
    looks = {one["look"] for one in seen.values() if one["severity"] == "error"}
    assert looks == {"PostgreSQL", "Redis", "Qdrant", "key service"}
    assert seen["postgres_login_refused"]["mend"]
    assert seen["vault_denied"]["mend"]
    assert seen["not_examined"]["severity"] == "info"  # what hangs on them is not tried


def test_closed_ports_are_findings_and_the_rest_goes_on(
    practice: Practice, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = {"POSTGRES__PORT": CLOSED, "REDIS__PORT": CLOSED}
    nowhere = dict.fromkeys(("QDRANT__URL", "KEYS__ADDRESS"), f"http://127.0.0.1:{CLOSED}")
    set_all(monkeypatch, {**closed, **nowhere})
    ran = practice.cli("doctor")
    assert ran.code == 8, ran.err
    away = {"postgres_unreachable", "redis_unreachable", "qdrant_unreachable", "vault_unreachable"}
    assert {one["code"] for _, one in _each(ran.data) if one["severity"] == "error"} == away
    answered = {one["subject"] for one in ran.data["examined"] if one["answered"]}
    assert answered >= {"repository", "repository, one winner", "signing key", "server control"}


@contextmanager
def behind_tls(practice: Practice, folder: Path, *parts: str) -> Iterator[list[str]]:
    """Ports where these servers answer with a certificate that nobody signed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate(folder, "127.0.0.1"))
    first, second = (practice.lab.place().ports[part] for part in parts)
    with FaultProxy(first, tls=context) as one, FaultProxy(second, tls=context) as two:
        yield [proxy.client().description.rpartition(":")[2] for proxy in (one, two)]


def test_a_wrong_authority_is_a_finding(
    practice: Practice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    authority = str(certificate(other, "127.0.0.1"))
    with behind_tls(practice, tmp_path, "qdrant", "vault") as (qdrant, vault):
        names = ("QDRANT__TLS__CA_FILE", "KEYS__TLS__CA_FILE")
        addresses = {
            "QDRANT__URL": f"https://127.0.0.1:{qdrant}",
            "KEYS__ADDRESS": f"https://127.0.0.1:{vault}",
        }
        set_all(monkeypatch, {**dict.fromkeys(names, authority), **addresses})
        set_all(monkeypatch, {"POSTGRES__TLS__ENABLED": "true"})  # the lab's speaks none
        seen = found(practice, "--purpose", "backup")
    assert seen["qdrant_certificate_refused"]["look"] == "Qdrant"
    assert seen["certificate_refused"]["look"] == "key service"
    assert seen["tls_not_offered"]["look"] == "PostgreSQL"


def test_a_qdrant_that_gives_no_snapshots(
    practice: Practice, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(practice.open()) as place:
        place.qdrant.ensure_identity()
    refused = Rule("/snapshot", status=403, body=b'{"status": {"error": "read-only"}}')
    with FaultProxy(practice.lab.place().ports["qdrant"], rules=[refused]) as proxy:
        monkeypatch.setenv("AETERNA_QDRANT__URL", proxy.client().description)
        seen = found(practice, "--purpose", "backup")
    assert seen["snapshots_refused"]["look"] == "Qdrant, snapshots"
    assert {one["severity"] for one in seen.values()} <= {"error", "info"}


def test_a_role_that_lacks_rows_and_privileges(
    practice: Practice, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = practice.lab.place().secrets.path("postgres-aeterna_app")
    set_all(monkeypatch, {"POSTGRES__USER": "aeterna_app", "POSTGRES__PASSWORD_FILE": str(secret)})
    ran = practice.cli("doctor", "--purpose", "backup")
    mends = [one["mend"] for _, one in _each(ran.data) if one["code"] == "missing_privilege"]
    assert 'ALTER ROLE "aeterna_app" REPLICATION' in mends
    assert 'GRANT pg_read_all_data TO "aeterna_app"' in mends
    assert len(mends) == len(set(mends)), "told once for the backup and once more for WAL"
    (hidden,) = (one for _, one in _each(ran.data) if one["code"] == "rows_hidden")
    assert hidden["mend"] == 'ALTER ROLE "aeterna_app" BYPASSRLS'


def test_settings_of_live_servers(practice: Practice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AETERNA_ENVIRONMENT", "production")
    with practice.sql() as connection, client(practice.lab.place()) as redis:
        connection.execute("ALTER SYSTEM SET full_page_writes = off")
        connection.execute("ALTER SYSTEM SET max_slot_wal_keep_size = -1")
        connection.execute("SELECT pg_reload_conf()")
        redis.config_set("appendfsync", "no")
        try:
            seen = found(practice)
        finally:
            redis.config_set("appendfsync", "everysec")
            connection.execute("ALTER SYSTEM RESET ALL")
            connection.execute("SELECT pg_reload_conf()")
    severities = {code: one["severity"] for code, one in seen.items()}
    assert severities["offline_recipient_missing"] == "error"
    assert severities["full_page_writes_off"] == "warning"
    assert severities["slot_unlimited"] == "warning"
    assert severities["receiver_slot_missing"] == "warning"  # a remark in a lab only
    assert severities["redis_append_only_file_not_synced"] == "warning"
    assert all(seen[code]["mend"] for code, how in severities.items() if how != "info")


def program(path: Path, prints: str) -> str:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{prints}'\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def test_programs_that_cannot_do_a_scratch_start(
    practice: Practice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(program(tmp_path / "bin" / "postgres", "postgres (PostgreSQL) 16.4")).parent
    old = program(tmp_path / "bin" / "redis-server", "Redis server v=6.2.1 sha=0:0 bits=64")
    set_all(monkeypatch, {"POSTGRES__BIN_DIR": str(folder), "REDIS__SERVER_BINARY": old})
    seen = found(practice, "--purpose", "restore")
    assert "PostgreSQL 16" in seen["postgres_programs_wrong_major"]["message"]
    assert seen["redis_program_unfit"]["severity"] == "error"
    program(Path(old), "nothing of that kind")
    assert "redis_program_broken" in found(practice, "--purpose", "restore")
    shutil.copy("/bin/true", folder / "postgres")
    said = found(practice, "--purpose", "restore")["postgres_programs_wrong_major"]["message"]
    assert "no PostgreSQL that runs here" in said


def test_the_repository_and_its_keys(practice: Practice, monkeypatch: pytest.MonkeyPatch) -> None:
    from aeterna_cli.repository.signing import SigningKey

    key = practice.open().signing_key_file
    key.unlink()
    SigningKey.generate().save(key)
    everything = str(practice.lab.place().secrets.path(ROOT_TOKEN))
    set_all(monkeypatch, {"KEYS__TOKEN_FILE": everything, "KEYS__KEY_NAME": "misspelt"})
    pins = practice.open().pins
    pins.record({"redis": "somebody else"})
    seen = found(practice)
    assert seen["signing_key_differs"]["look"] == "signing key"
    assert seen["key_missing"]["look"] == "key service"
    assert "another_cluster" in seen
    monkeypatch.setenv("AETERNA_DEPLOYMENT", "another")
    assert found(practice)["repository_foreign"]["severity"] == "error"


def test_a_bucket(practice: Practice, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from aeterna_cli.lab import profile as lab_profile

    folder = tmp_path / "s3"
    folder.mkdir()
    repository = lab_profile.tree(practice.lab.place())["repository"]
    repository["url"] = f"s3://aeterna-backups/doctor-{os.getpid()}"
    on_s3 = practise(practice.lab, practice.cli, folder, monkeypatch, repository=repository)
    ran = on_s3.cli.ok("doctor")
    codes = {one["code"] for _, one in _each(ran.data)}
    assert "bucket_without_versions" in codes
    assert "conditional_writes_ignored" not in codes
    monkeypatch.setenv("AETERNA_REPOSITORY__URL", "s3://no-such-bucket/x")
    assert found(on_s3)["bucket_missing"]["mend"]
    monkeypatch.delenv("AETERNA_REPOSITORY__URL")
    monkeypatch.setenv("AETERNA_REPOSITORY__SECRET_ACCESS_KEY", SECRET)
    assert found(on_s3)["s3_denied"]["look"] == "repository"


def test_an_unknown_purpose_is_wrong_usage(practice: Practice) -> None:
    for words in (("--purpose", "prune"), ("--grants", "--purpose", "prune")):
        ran = practice.cli("doctor", *words)
        assert (ran.code, ran.error["code"]) == (2, "purpose_unknown")


def test_every_command_of_the_runbook_runs(practice: Practice) -> None:
    page = Path(__file__).parents[4] / "runbooks" / "doctor.md"
    commands = re.findall(r"^\$ aeterna-cli (.+)$", page.read_text(encoding="utf-8"), re.M)
    assert commands
    for line in commands:
        practice.cli.ok(*line.split())
