"""Makes ``repository-<format>.tar.zst``: a small repository that later versions must still open.

    .venv/bin/python -m tests.data.make_repository

Run it once for every version of the format, with the code that writes this version, and commit the
file; never make an old one again. It holds one backup of Redis and Qdrant of a tiny lab (a base
backup of PostgreSQL would be ten times as large; its volumes are made by the same code), and
``identity.txt``, an offline identity that opens it and nothing else. Journals and leases are left
out: they name directories of the machine that ran this.
"""

import io
import sys
import tarfile
import tempfile
from pathlib import Path

from aeterna_cli.keys.slots import create_identity
from aeterna_cli.repository.repository import FORMAT
from tests.e2e.directory_backup import back_up
from tests.integration import lab_fixture

KEPT = ("repository.json", "catalogue", "backups")


def make(target: Path) -> None:
    """``target`` is written, or nothing is; what was started is stopped."""
    import zstandard

    identity, recipient = create_identity()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        lab = lab_fixture.start(root / "lab", scale=0.005)
        try:
            back_up(lab, root, recipient, stores=["qdrant", "redis"])
        finally:
            lab.down()
        (root / "identity.txt").write_text(f"{identity}\n", encoding="ascii")
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            archive.add(root / "identity.txt", "identity.txt", filter=_anonymous)
            for name in KEPT:
                archive.add(root / "repository" / name, f"repository/{name}", filter=_anonymous)
    target.write_bytes(zstandard.ZstdCompressor(level=19).compress(packed.getvalue()))


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


if __name__ == "__main__":
    path = Path(__file__).with_name(f"repository-{FORMAT}.tar.zst")
    if path.exists():
        sys.exit(f"{path.name} exists: a repository of an old format is never made again")
    make(path)
