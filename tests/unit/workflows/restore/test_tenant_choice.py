"""The words of a tenant's restore: what they may be, and what they may not be together."""

from typing import Any

import pytest

from aeterna_cli.errors import UsageError
from aeterna_cli.workflows.restore.choice import Choice, asked
from aeterna_cli.workflows.restore.tenant_choice import TenantChoice


def chosen(tenant: str | None = "acme", backup: str = "latest", **words: Any) -> Any:
    names = (
        "mode", "at", "lsn", "name", "store", "into", "data_dir", "allow_skew", "identity",
    )  # fmt: skip
    return asked(backup, tenant, **{**dict.fromkeys(names), **words})


def test_without_a_tenant_the_deployment_is_meant() -> None:
    assert isinstance(chosen(None), Choice)


def test_the_least_harmful_mode_is_the_default() -> None:
    choice = chosen()
    assert isinstance(choice, TenantChoice)
    assert (choice.mode, choice.stores) == ("missing", ("postgres", "qdrant", "redis", "objects"))
    assert chosen(mode="replace").mode == "replace"


def test_it_survives_the_journal() -> None:
    hostile = 'o\'neill "100%" *?[a]_\\ ; DROP TABLE x--{t} 名前\u202e'
    choice = chosen(
        hostile, at="2026-11-23T03:00:00+01:00", mode="replace", store=["redis", "postgres"],
        allow_skew="90s", identity="key.txt",
    )  # fmt: skip
    assert TenantChoice.from_document(choice.as_document()) == choice


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ({"mode": "overwrite"}, "mode_unknown"),
        ({"lsn": "0/1"}, "option_for_whole_restores"),
        ({"into": "other"}, "option_for_whole_restores"),
        ({"data_dir": "folder"}, "option_for_whole_restores"),
        ({"name": "point"}, "option_for_whole_restores"),
        ({"store": ["mongo"]}, "store_unknown"),
        ({"at": "2026-11-23T03:00:00Z", "store": ["redis"]}, "target_without_postgres"),
        ({"at": "2026-11-23T03:00:00"}, "time_without_offset"),
    ],
)
def test_what_cannot_be_meant_is_said(words: dict[str, Any], code: str) -> None:
    with pytest.raises(UsageError) as caught:
        chosen(**words)
    assert caught.value.code == code


def test_a_mode_needs_a_tenant() -> None:
    with pytest.raises(UsageError) as caught:
        chosen(None, mode="replace")
    assert caught.value.code == "mode_without_tenant"
