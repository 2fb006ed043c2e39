"""``operation list``: what was done, what was cut off, and what this machine knows alone."""

import pytest

from tests.integration.deployment import Practice

pytestmark = pytest.mark.integration


def test_nothing_was_done_yet(practice: Practice) -> None:
    assert practice.operations() == []
    assert "no operations" in practice.cli.ok("operation", "list", "-o", "table").out


def test_what_was_cut_off_is_listed(practice: Practice, killed: str) -> None:
    assert [(one["kind"], one["state"] == "finished") for one in practice.operations()] == [
        ("backup.create", True),
        ("restore.run", False),
    ]
    assert killed in practice.cli.ok("operation", "list", "-o", "table").out
    assert [one["operation"] for one in practice.operations("--unfinished")] == [killed]


def test_without_the_repository_this_machines_own_are_listed(
    practice: Practice, killed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AETERNA_REPOSITORY__URL", "s3://bucket/prefix")
    monkeypatch.setenv("AETERNA_REPOSITORY__ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AETERNA_REPOSITORY__ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AETERNA_REPOSITORY__SECRET_ACCESS_KEY", "x7-not-the-key")
    monkeypatch.setenv("AETERNA_REPOSITORY__TIMEOUT", "1")
    ran = practice.cli("operation", "list", "--unfinished")
    assert ran.code == 0, ran.err
    assert [one["operation"] for one in ran.data] == [killed]
    assert "only what this machine knows" in ran.err
