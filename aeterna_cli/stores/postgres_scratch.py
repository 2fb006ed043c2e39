"""A scratch server on a restored data directory: recover it to a point, look at it, stop it.

It listens on a socket in a private folder only, runs nothing of the restored configuration, starts
no subscription, and never archives. Recovery pauses at the target, the position is checked and
written down, and only then is the server promoted. Killed at any moment (we or the server), the
same ``recover`` goes on where it was.
Source: postgresql.org/docs/18: recovery targets, pg_wal_replay_resume.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import psycopg

from aeterna_cli.errors import FailedError, RefusedError, TransientError
from aeterna_cli.settings import PostgresSettings
from aeterna_cli.stores import postgres_scratch_files as files
from aeterna_cli.stores import unprivileged
from aeterna_cli.stores.postgres_recovery_log import RecoveryLog
from aeterna_cli.stores.postgres_scratch_process import START_LIMIT, ScratchProcess

_PAUSED = "SELECT pg_is_in_recovery() AND pg_get_wal_replay_pause_state() = 'paused'"
_POSITION = """
SELECT pg_is_in_recovery(), pg_last_wal_replay_lsn() - '0/0'::pg_lsn,
       pg_last_xact_replay_timestamp()
"""
_TIMELINE = "SELECT ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int"


@dataclass(frozen=True)
class RecoveryTarget:
    """Where recovery ends: one of ``lsn``, ``time``, ``name``, ``immediate``; none is the end.

    ``immediate`` is the end of the base backup. ``inclusive`` is about ``lsn`` and ``time``.
    ``timeline`` None follows the newest timeline that the archive knows.
    """

    lsn: int | None = None
    time: datetime | None = None
    name: str | None = None
    immediate: bool = False
    inclusive: bool = True
    timeline: int | None = None

    def __post_init__(self) -> None:
        chosen = [self.lsn is not None, self.time is not None, bool(self.name), self.immediate]
        if sum(chosen) > 1:
            raise ValueError("at most one recovery target")
        if self.time is not None and self.time.tzinfo is None:
            raise ValueError("a target time has an offset")

    @property
    def at_end(self) -> bool:
        return self.lsn is None and self.time is None and not self.name and not self.immediate

    def settings(self) -> dict[str, str]:
        """The server's own words for it."""
        found = {
            "recovery_target_timeline": str(self.timeline) if self.timeline else "latest",
            "recovery_target_inclusive": "on" if self.inclusive else "off",
            "recovery_target_action": "pause",
        }
        if self.lsn is not None:
            found["recovery_target_lsn"] = _lsn_text(self.lsn)
        elif self.time is not None:
            found["recovery_target_time"] = self.time.astimezone(UTC).isoformat(" ")
        elif self.name:
            found["recovery_target_name"] = self.name
        elif self.immediate:
            found["recovery_target"] = "immediate"
        return found

    def __str__(self) -> str:
        if self.lsn is not None:
            return f"LSN {_lsn_text(self.lsn)}"
        if self.time is not None:
            return self.time.isoformat()
        if self.name:
            return f"restore point {self.name!r}"
        return "the end of the base backup" if self.immediate else "the end of the stored WAL"


@dataclass(frozen=True)
class RecoveryFacts:
    """Where recovery ended: ``lsn`` is the end of the last replayed record, ``last_commit`` (RFC
    3339) the time of the last replayed commit, "" where none was; ``timeline`` is the new one."""

    lsn: int
    last_commit: str
    timeline: int


def _lsn_text(position: int) -> str:
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"


def _nothing(*_: Any) -> None:
    return


class ScratchServer:
    """One server on one prepared directory (``postgres_scratch_files.prepare``).

    ``known_role`` is any role of the cluster that may log in: with it the superuser's name is
    learnt. ``durable=False`` (no fsync) is for a copy that is thrown away. As a context it kills
    the server on leaving, unless ``stop`` came first.
    """

    def __init__(
        self,
        data: Path,
        bin_dir: Path,
        *,
        database: str = "postgres",
        known_role: str = "postgres",
        durable: bool = True,
    ) -> None:
        self._data = data
        self._process = ScratchProcess(
            data, bin_dir, database=database, known_role=known_role, durable=durable
        )
        self._raised: dict[str, str] = {}

    def __enter__(self) -> "ScratchServer":
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._process.kill()

    @property
    def log(self) -> Path:
        """The server's own log; gone after ``give_back``."""
        return self._process.log

    def connect_settings(self, *, database: str | None = None) -> PostgresSettings:
        """How to reach the running server as its superuser."""
        return self._process.connect_settings(database=database)

    def start(self) -> None:
        """Start the recovered server again; it answers when this returns."""
        self._process.start()

    def stop(self) -> None:
        """Shut down cleanly; ``RemoteError('scratch_shutdown_failed')`` where it was not clean."""
        self._process.stop()

    def give_back(self) -> None:
        """Shut down, then leave a directory to be served with its own configuration.

        Only after a finished recovery: ``RefusedError('not_recovered')`` before it, for such a
        directory must never be served.
        """
        self._process.stop()
        if files.read_state(self._data).get("phase") != "promoted":
            raise RefusedError("not_recovered", f"{self._data} was not recovered to its target")
        files.give_back(self._data)

    def run_sql_files(self, paths: Sequence[Path], *, database: str | None = None) -> None:
        """Run each file as the superuser, each in one transaction.

        ``FailedError('sql_file_failed')`` names the first that failed; it changed nothing.
        """
        for path in paths:
            with self._process.connection(database) as connection:
                try:
                    connection.execute(path.read_bytes())
                except psycopg.Error as error:
                    raise FailedError(
                        "sql_file_failed",
                        f"{path} failed: {error.diag.message_primary or type(error).__name__}",
                    ) from error
                except OSError as error:
                    raise FailedError(
                        "sql_file_failed", f"cannot read {path}: {error.strerror}"
                    ) from error

    def facts(self) -> RecoveryFacts:
        """Where the recovery ended; ``RefusedError('not_recovered')`` before its end."""
        state = files.read_state(self._data)
        if state.get("phase") != "promoted":
            raise RefusedError("not_recovered", f"{self._data} was not recovered to its target")
        return RecoveryFacts(**state["facts"])

    def recover(
        self,
        target: RecoveryTarget,
        restore_command: str,
        *,
        stop: Callable[[], None] = _nothing,
        progress: Callable[[int], None] = _nothing,
        timeout_idle: float = 600,
    ) -> RecoveryFacts:
        """Recover to ``target`` and promote; the server runs and is writable afterwards.

        ``stop`` is asked often and ends the recovery by raising; ``progress`` gets the replayed
        LSN. Nothing moving for ``timeout_idle`` seconds is ``TransientError('recovery_stalled')``.
        On any error the server is down and the directory may be recovered again to this target.
        ``RefusedError('target_not_reached')`` names the last moment there is; also
        ``target_before_backup_end``, ``timeline_unknown``, ``RemoteError('wal_missing')`` and
        others of ``postgres_recovery_log``.
        """
        state = files.read_state(self._data)
        _check_same_target(self._data, state, target)
        signal_file = self._data / files.RECOVERY_SIGNAL
        try:
            if state["phase"] == "promoted":
                self._process.start()
                return self.facts()
            if state["phase"] == "recovering" and not signal_file.exists():
                return self._died_at_the_end(state)
            signal_file.touch(mode=0o600)
            unprivileged.own(self._data)
            files.write_state(self._data, {"phase": "recovering", "target": repr(target)})
            return self._replay(target, restore_command, stop, _Movement(progress, timeout_idle))
        except BaseException:
            self._process.kill()
            raise

    def _died_at_the_end(self, state: dict[str, Any]) -> RecoveryFacts:
        """The server was promoted but we did not write it down: trust only what is provable.

        The new timeline's history file says where it branches off: that must be the position that
        was checked before the promotion.
        """
        unclear = RefusedError(
            "recovery_unclear",
            f"the recovery of {self._data} was cut off while the server was promoted",
            hint="unpack the base backup again",
        )
        if "facts" not in state:
            raise unclear
        facts = RecoveryFacts(**state["facts"])
        self._process.start()
        with self._process.connection() as connection:
            timeline = _timeline(connection)
        history = self._data / "pg_wal" / f"{timeline:08X}.history"
        branch = history.read_text(encoding="utf-8").split("\n") if history.exists() else []
        if not any(line.split("\t")[1:2] == [_lsn_text(facts.lsn)] for line in branch[-2:]):
            raise unclear
        return self._write_facts(facts, timeline, state["target"])

    def _write_facts(self, facts: RecoveryFacts, timeline: int, target: str) -> RecoveryFacts:
        facts = RecoveryFacts(facts.lsn, facts.last_commit, timeline)
        state = {"phase": "promoted", "target": target, "facts": asdict(facts)}
        files.write_state(self._data, state)
        return facts

    def _replay(
        self,
        target: RecoveryTarget,
        restore_command: str,
        stop: Callable[[], None],
        movement: "_Movement",
    ) -> RecoveryFacts:
        extra = {**target.settings(), "restore_command": restore_command}
        log = self._process.launch({**extra, **self._raised})
        while True:
            stop()
            ended = self._process.exited()
            heard = log.read()
            if log.too_small:  # the primary was given more after the backup: start with as much
                self._raised |= log.too_small
                self._process.kill()
                log = self._process.launch({**extra, **self._raised})
                continue
            if ended:
                raise log.failure(str(target))
            arrived, lsn = self._look(target, log) if log.ready else (False, 0)
            if arrived:
                with self._process.connection() as connection:
                    return self._finish(connection, target, log)
            movement.seen(max(lsn, log.lsn), heard=heard)
            self._process.pause(movement.interval)

    def _look(self, target: RecoveryTarget, log: RecoveryLog) -> tuple[bool, int]:
        """Whether the recovery is at its end, and how far it is."""
        try:
            with self._process.connection() as connection:
                recovering, lsn, _ = _position(connection)
                if target.at_end:  # it promotes itself
                    return not recovering, lsn
                row = connection.execute(_PAUSED).fetchone()
                return bool(row and row[0]), lsn
        except TransientError:  # replay may end sessions; whether it moves is watched elsewhere
            return False, 0
        except RefusedError as error:  # seen once while a server gave up: what it says then is moot
            if error.code != "database_missing" or target.at_end or log.target_reached:
                raise
            return False, 0

    def _finish(
        self, connection: psycopg.Connection[Any], target: RecoveryTarget, log: RecoveryLog
    ) -> RecoveryFacts:
        """Check the position, write it down, promote, write that down."""
        recovering, lsn, moment = _position(connection)
        log.read()
        short_of = target.lsn is not None and (lsn > target.lsn) != target.inclusive
        if short_of or (not target.at_end and not log.target_reached):
            raise FailedError(
                "target_unproven", f"the server stopped at {_lsn_text(lsn)}, which is not {target}"
            )
        facts = RecoveryFacts(lsn, moment.isoformat() if moment else "", 0)
        state = {"phase": "recovering", "target": repr(target), "facts": asdict(facts)}
        files.write_state(self._data, state)
        if recovering:
            # at a target this promotes, and at once: pg_promote is only seen after a second
            connection.execute("SELECT pg_wal_replay_resume()")
            self._wait_for_promotion(connection, log)
        return self._write_facts(facts, _timeline(connection), repr(target))

    def _wait_for_promotion(self, connection: psycopg.Connection[Any], log: RecoveryLog) -> None:
        deadline = time.monotonic() + START_LIMIT
        while _position(connection)[0]:
            if self._process.exited():
                raise log.failure("the promotion")
            if time.monotonic() > deadline:
                raise FailedError(
                    "promotion_stuck", f"the server was not promoted within {START_LIMIT} s"
                )
            self._process.pause()


class _Movement:
    """Reports progress, and notices when there is none."""

    def __init__(self, progress: Callable[[int], None], limit: float) -> None:
        self._progress = progress
        self._limit = limit
        self._lsn = 0
        self._started = self._since = time.monotonic()

    @property
    def interval(self) -> float:
        """Seconds to the next look: a look costs a connection, so long recoveries get fewer."""
        return min(0.5, 0.05 + (time.monotonic() - self._started) / 50)

    def seen(self, lsn: int, *, heard: bool) -> None:
        if heard or lsn > self._lsn:
            self._since = time.monotonic()
        if lsn > self._lsn:
            self._lsn = lsn
            self._progress(lsn)
        if time.monotonic() - self._since > self._limit:
            raise TransientError(
                "recovery_stalled",
                f"recovery did not move for {self._limit:.0f} s at {_lsn_text(self._lsn)}",
                hint="is the WAL still being served?",
            )


def _check_same_target(data: Path, state: dict[str, Any], target: RecoveryTarget) -> None:
    if not state:
        raise RefusedError("not_prepared", f"{data} was not prepared for a scratch start")
    if state.get("target", repr(target)) != repr(target):
        # an unfinished run may already have replayed past another target
        raise RefusedError(
            "other_target",
            f"{data} was already being recovered to another target",
            hint="another target needs a freshly unpacked base backup",
        )


def _position(connection: psycopg.Connection[Any]) -> tuple[bool, int, datetime | None]:
    recovering, lsn, moment = connection.execute(_POSITION).fetchone() or (True, 0, None)
    return bool(recovering), int(lsn or 0), moment


def _timeline(connection: psycopg.Connection[Any]) -> int:
    row = connection.execute(_TIMELINE).fetchone()
    return int(row[0]) if row else 0
