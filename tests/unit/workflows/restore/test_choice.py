"""What may be asked of a restore."""

from typing import Any

import pytest

from aeterna_cli.errors import UsageError
from aeterna_cli.workflows.restore.choice import Choice, choose


def chosen(**words: Any) -> Choice:
    known: dict[str, Any] = dict.fromkeys(
        ("at", "lsn", "name", "store", "into", "data_dir", "allow_skew", "identity")
    )
    return choose(words.pop("backup", "latest"), **{**known, **words})


def test_without_a_target_every_store_goes_to_the_recovery_point() -> None:
    choice = chosen()
    assert choice.stores == ("postgres", "qdrant", "redis")
    assert not choice.moves_postgres


def test_a_target_moves_postgres() -> None:
    assert chosen(lsn="0/10").lsn == 16
    assert chosen(at="2026-11-23T03:00:00Z", allow_skew="2m").allow_skew == 120
    assert chosen(name="before-upgrade").moves_postgres


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ({"at": "2026-11-23T03:00:00Z", "lsn": "0/1"}, "targets_contradict"),
        ({"name": "x", "store": ["redis"]}, "target_without_postgres"),
        ({"data_dir": "x"}, "data_dir_is_for_postgres"),
        ({"data_dir": "x", "store": ["postgres"], "into": "b"}, "data_dir_is_for_postgres"),
        ({"at": "2026-11-23T03:00:00"}, "time_without_offset"),
    ],
)
def test_contradictions_are_usage_errors(words: dict[str, Any], code: str) -> None:
    with pytest.raises(UsageError) as refused:
        chosen(**words)
    assert refused.value.code == code


def test_a_data_directory_is_absolute() -> None:
    directory = chosen(data_dir="here", store=["postgres"]).data_dir
    assert directory is not None
    assert directory.is_absolute()
