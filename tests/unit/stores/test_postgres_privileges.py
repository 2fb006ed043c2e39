"""The printed SQL: whose it is, what only a backup gets, and names that cannot break out of it."""

import pytest

from aeterna_cli.errors import UsageError
from aeterna_cli.settings import PostgresSettings
from aeterna_cli.stores.postgres_privileges import Purpose, least_privilege_sql


def printed(purpose: Purpose, **values: object) -> str:
    settings = {"user": "ada", "database": "app", "password": "x7-secret", **values}
    return least_privilege_sql(PostgresSettings.model_validate(settings), purpose)


def test_a_backup_reads_and_streams_and_a_restore_asks_only() -> None:
    backup, restore = printed("backup"), printed("restore")
    for words in ("REPLICATION BYPASSRLS", "pg_read_all_data", "pg_switch_wal()", "aeterna_ops"):
        assert words in backup
        assert words not in restore
    assert backup.startswith(restore)
    for too_much in ("SUPERUSER", "pg_write_all_data", "pg_monitor", "CREATE ON DATABASE"):
        assert too_much not in backup


def test_no_password_but_how_to_set_one() -> None:
    text = printed("backup")
    assert "x7-secret" not in text
    assert "PASSWORD" not in text
    assert '\\password "ada"' in text


def test_names_are_quoted() -> None:
    text = printed("backup", user='o\'brien \\ "x"', database='a"b; DROP TABLE t')
    assert 'ALTER ROLE "o\'brien \\ ""x""" LOGIN;' in text
    assert "rolname = E'o''brien \\\\ \"x\"'" in text
    assert 'ON DATABASE "a""b; DROP TABLE t" TO' in text


@pytest.mark.parametrize("name", ["", "a\nb", "a\x00", "$aeterna$"])
def test_what_would_end_a_comment_or_a_block_is_refused(name: str) -> None:
    for field in ("user", "database"):
        with pytest.raises(UsageError) as caught:
            printed("backup", **{field: name})
        assert caught.value.code == "postgres_name_invalid"
