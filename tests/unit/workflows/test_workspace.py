"""Work folders: private, gone afterwards, disk faults typed."""

import errno
from pathlib import Path

import pytest

from aeterna_cli.errors import FailedError, RefusedError
from aeterna_cli.workflows.workspace import local_faults, want_space, workspace


def test_the_folder_is_private_and_gone_afterwards(tmp_path: Path) -> None:
    def broken() -> None:
        with workspace(tmp_path / "cache", "backup") as folder:
            (folder / "piece").write_bytes(b"x")
            assert folder.stat().st_mode & 0o077 == 0
            raise KeyError

    with pytest.raises(KeyError):
        broken()
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize(
    ("number", "code"), [(errno.ENOSPC, "local_disk_full"), (errno.EIO, "local_disk")]
)
def test_faults_of_the_disk_are_typed(tmp_path: Path, number: int, code: str) -> None:
    with pytest.raises(FailedError) as failed, local_faults(tmp_path):
        raise OSError(number, "no")
    assert failed.value.code == code


def test_space_is_checked_where_the_folder_will_be(tmp_path: Path) -> None:
    want_space(tmp_path / "not" / "yet", 1, "a restore")
    with pytest.raises(RefusedError, match=r"needs .* TiB"):
        want_space(tmp_path / "not" / "yet", 1 << 60, "a restore")
