"""The documented ACL lines."""

import pytest

from aeterna_cli.stores.base.redis import Purpose
from aeterna_cli.stores.redis_privileges import PASSWORD_HASH, least_privilege_acl, password_hash


@pytest.mark.parametrize("purpose", ["backup", "restore"])
def test_a_line_allows_single_commands_only_and_holds_no_password(purpose: Purpose) -> None:
    words = least_privilege_acl(purpose).split()
    assert words[:5] == ["ACL", "SETUSER", f"aeterna_{purpose}", "reset", "on"]
    assert f"#{PASSWORD_HASH}" in words
    assert "-@all" in words
    assert not [word for word in words if word.startswith(("+@", ">", "nopass"))]


def test_the_backup_user_writes_our_own_keys_only() -> None:
    words = least_privilege_acl("backup").split()
    assert [word for word in words if "~" in word] == ["%R~*", "~aeterna-ops:*"]
    assert not {"+flushall", "+replicaof", "+config|set", "+restore"} & set(words)


def test_older_servers_get_no_rule_that_they_do_not_know() -> None:
    assert "+hpexpiretime" in least_privilege_acl("backup").split()
    assert "hpexpiretime" not in least_privilege_acl("backup", field_times=False)


def test_a_password_hash_is_what_acl_setuser_takes() -> None:
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert password_hash("abc") == known
