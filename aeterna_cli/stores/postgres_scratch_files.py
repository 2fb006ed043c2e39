"""A restored data directory made safe for a scratch start, and given back as it was.

The scratch server reads none of the restored configuration: it gets its own files in a folder
beside the data directory, so nothing of the old machine runs (archiving, replication, preloaded
libraries, listening, TLS). What the server would read anyway is moved aside and put back:
``postgresql.auto.conf`` (without recovery settings). ``standby.signal`` never comes back: a
restored server is its own primary. Source: postgresql.org/docs/18, runtime-config, continuous
archiving; ``tablespace_map`` is only read where it exists.
"""

import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from aeterna_cli.errors import FailedError, RefusedError, RemoteError
from aeterna_cli.stores import binaries, helpers, unprivileged

AUTO = "postgresql.auto.conf"
RECOVERY_SIGNAL = "recovery.signal"
#: Says that the folder beside belongs to this very copy, not to one unpacked here before; random,
#: so an archive cannot bring a state of its own along.
COPY_MARK = "aeterna_scratch.mark"
_ASIDE = (AUTO, "standby.signal", "tablespace_map")
_RECOVERY_SETTINGS = re.compile(
    r"^\s*(recovery_\w+|restore_command|archive_cleanup_command|primary_conninfo"
    r"|primary_slot_name|promote_trigger_file)\s*=?",
    re.IGNORECASE,
)


def state_folder(data: Path) -> Path:
    """Where the scratch server's own files lie; private, gone after ``give_back``."""
    return data.with_name(f"{data.name}.scratch")


def major(data: Path) -> int:
    """The major version that wrote the directory; ``RemoteError('no_data_directory')``."""
    try:
        return int((data / "PG_VERSION").read_text(encoding="ascii").strip())
    except (OSError, ValueError) as error:
        raise RemoteError(
            "no_data_directory", f"{data} holds no PostgreSQL data directory"
        ) from error


def programs(data: Path, configured: Path | None = None) -> Path:
    """The program directory of the major that wrote ``data``, as of ``programs_of``."""
    return programs_of(major(data), configured)


def programs_of(wanted: int, configured: Path | None = None) -> Path:
    """The program directory of a major; asked before gigabytes are unpacked for it.

    A configured one of another major is passed over: a scratch start would fail in it.
    ``RefusedError('postgres_programs_missing')`` names the major where there is none.
    """
    if configured is not None and _program_major(configured) != wanted:
        configured = None
    return binaries.postgres_bin(wanted, configured)


def _program_major(folder: Path) -> int | None:
    """What the program in ``folder`` says of itself; None where none there can be run."""
    try:
        said = helpers.run([folder / "postgres", "--version"])
    except OSError:
        return None
    number = re.search(r"(\d+)", said.stdout.partition(")")[2])
    return int(number[1]) if number else None


def prepare(data: Path, tablespaces: Mapping[int, Path] | None = None) -> None:
    """Make an unpacked base backup safe to start. May be repeated, also after a crash.

    ``tablespaces`` says where each tablespace was unpacked; its link is made or rewritten and
    stays: those folders must not move before the data directory is served.
    ``RefusedError('backup_label_missing')``: without it the server would start from the wrong
    checkpoint and the data would be silently damaged.
    """
    major(data)
    if not read_state(data) and not (data / "backup_label").is_file():
        raise RefusedError(
            "backup_label_missing",
            f"{data} has no backup_label: it is not a freshly unpacked base backup",
            hint="unpack the base backup again into an empty folder",
        )
    try:
        _prepare(data, state_folder(data), tablespaces or {})
    except OSError as error:
        raise FailedError(
            "prepare_failed", f"cannot prepare {data}: {error.strerror}", hint=str(error.filename)
        ) from error


def _prepare(data: Path, state: Path, tablespaces: Mapping[int, Path]) -> None:
    if not read_state(data):
        if state.exists():  # of another copy that was unpacked here before
            shutil.rmtree(state)
        (state / "saved").mkdir(mode=0o700, parents=True)
        mark = uuid4().hex
        _replace(data / COPY_MARK, mark)
        write_state(data, {"phase": "prepared"})
    state.chmod(0o700)
    data.chmod(0o700)
    for oid, folder in tablespaces.items():
        _link(data / "pg_tblspc" / str(oid), folder)
        unprivileged.own(folder)
    _refuse_foreign_links(data, tablespaces)
    for name in _ASIDE:
        if (data / name).exists() and not (state / "saved" / name).exists():
            (data / name).rename(state / "saved" / name)
    (data / AUTO).write_text("", encoding="ascii")  # initdb makes it; its absence is only noise
    unprivileged.own(data)


def _link(link: Path, folder: Path) -> None:
    fresh = link.with_name(f"{link.name}.new")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(folder.absolute(), target_is_directory=True)
    fresh.replace(link)


def _refuse_foreign_links(data: Path, tablespaces: Mapping[int, Path]) -> None:
    """A link that we did not make could lead into the data of a server that runs here."""
    tablespace_folder = data / "pg_tblspc"
    for entry in tablespace_folder.iterdir() if tablespace_folder.is_dir() else ():
        if entry.is_symlink() and entry.name not in {str(oid) for oid in tablespaces}:
            raise RefusedError(
                "tablespace_unmapped",
                f"tablespace {entry.name} was not restored: its link leads to {entry.readlink()}",
                hint="unpack the tablespace's archive too and say where",
            )


def give_back(data: Path) -> None:
    """The stopped, promoted directory can be served with its own configuration afterwards.

    ``postgresql.auto.conf`` is put back without recovery settings; our folder is removed.
    """
    state = state_folder(data)
    original = state / "saved" / AUTO
    if original.exists():
        lines = original.read_text(encoding="utf-8", errors="surrogateescape").splitlines(True)
        kept = "".join(line for line in lines if not _RECOVERY_SETTINGS.match(line))
        _replace(data / AUTO, kept)
    for name in (RECOVERY_SIGNAL, "standby.signal", "postmaster.opts", COPY_MARK):
        (data / name).unlink(missing_ok=True)
    unprivileged.own(data)
    shutil.rmtree(state)


def read_state(data: Path) -> dict[str, Any]:
    """What is known of an earlier start of this very copy; empty before ``prepare``."""
    try:
        mark = (data / COPY_MARK).read_text(encoding="ascii")
        found = json.loads((state_folder(data) / "state.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise FailedError(
            "scratch_state_unreadable", f"cannot read {state_folder(data)}/state.json"
        ) from error
    return dict(found) if found.get("mark") == mark else {}


def write_state(data: Path, state: Mapping[str, Any]) -> None:
    """On disk before the effect that it announces."""
    mark = (data / COPY_MARK).read_text(encoding="ascii")
    _replace(state_folder(data) / "state.json", json.dumps({**state, "mark": mark}))


def _replace(path: Path, text: str) -> None:
    fresh = path.with_name(f"{path.name}.new")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def quote(value: str) -> str:
    """A value for a PostgreSQL configuration file."""
    if "\n" in value or "\0" in value:
        raise ValueError("a setting is one line")
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def write_configuration(data: Path, settings: Mapping[str, str]) -> list[str]:
    """Our own configuration, access rules and user map; returns the server's arguments."""
    state = state_folder(data)
    lines = [f"{name} = {quote(value)}\n" for name, value in settings.items()]
    _replace(state / "postgresql.conf", "".join(lines))
    _replace(state / "pg_hba.conf", "local all all trust\n")
    _replace(state / "pg_ident.conf", "")
    unprivileged.own(state)
    return [
        *("-D", str(data)),
        *("-c", f"config_file={state / 'postgresql.conf'}"),
        *("-c", f"hba_file={state / 'pg_hba.conf'}"),
        *("-c", f"ident_file={state / 'pg_ident.conf'}"),
    ]


def control(data: Path, bin_dir: Path) -> dict[str, str]:
    """``pg_controldata`` as words; ``RemoteError('control_file_unreadable')``."""
    words = unprivileged.wrap([bin_dir / "pg_controldata", "-D", data])
    said = helpers.run(words, env={**os.environ, "LC_ALL": "C"})
    if said.returncode != 0:
        raise RemoteError(
            "control_file_unreadable",
            f"the control file of {data} cannot be read",
            hint=said.stderr.strip(),
        )
    pairs = (line.partition(":") for line in said.stdout.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}
