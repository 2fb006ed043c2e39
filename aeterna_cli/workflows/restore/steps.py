"""The steps of a restore. Each may be repeated after a crash; only the last ones serve anything.

Order: PostgreSQL beside the old data, Redis, Qdrant; then everything is compared, hooks run (this
is where erasures will be replayed), and only then aliases point to the collections and PostgreSQL's
data directory is handed over.
"""

import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aeterna_cli.context import Context
from aeterna_cli.deployment import Deployment
from aeterna_cli.errors import FailedError, RefusedError, RemoteError, TransientError
from aeterna_cli.operations.step_run import StepRun
from aeterna_cli.repository.wal_archive import lsn_text
from aeterna_cli.stores import binaries, helpers
from aeterna_cli.stores.base.qdrant import CollectionDescription
from aeterna_cli.stores.base.server_control import StoreName
from aeterna_cli.stores.postgres_scratch import RecoveryTarget
from aeterna_cli.workflows.restore import comparison
from aeterna_cli.workflows.restore.choice import Choice
from aeterna_cli.workflows.restore.comparison import Compared
from aeterna_cli.workflows.restore.opened import OpenedBackup
from aeterna_cli.workflows.restore.postgres_scratch_recovery import (
    Recovered,
    own_target,
    recovered,
    unpack,
)
from aeterna_cli.workflows.restore.qdrant import Image, QdrantRestore
from aeterna_cli.workflows.sorting import sorted_lines
from aeterna_cli.workflows.workspace import local_faults

if TYPE_CHECKING:
    from aeterna_cli.stores.redis_scratch import ScratchRedis


class RestoreSteps:
    """What ``restore run`` does, step by step. ``prepared`` is where PostgreSQL is unpacked."""

    def __init__(
        self,
        ctx: Context,
        target: Deployment,
        opened: OpenedBackup,
        choice: Choice,
        prepared: Path | None,
    ) -> None:
        self._ctx = ctx
        self._place = target
        self.opened = opened
        self.choice = choice
        self._prepared = prepared

    # -- before anything is replaced

    def start_servers(self, run: StepRun) -> dict[str, Any]:
        """Redis and Qdrant answer: they are restored while they run. What is down is started."""
        started = []
        for name in self.choice.stores:
            if name == "postgres" or self._answers(name):
                continue
            self._place.server_control.start(name)
            started.append(name)
            run.safe_point()
        return {"started": started}

    def _answers(self, name: StoreName) -> bool:
        try:
            getattr(self._place, name).identity()
        except TransientError:
            if self._place.profile.server_control.kind == "none":
                raise
            return False
        return True

    def check_images(self, run: StepRun) -> dict[str, Any]:
        """Every stored object of Qdrant's part is whole: collections are dropped before they are
        filled, so a damaged image must be found now. Errors as ``open_volume`` raises them."""
        from aeterna_cli.repository.opening import verify_parts

        volumes = self.opened.part("qdrant").volumes
        for record in volumes:
            run.safe_point()
            for one in verify_parts(self.opened.place.objects, record):
                raise RemoteError(
                    one.code,
                    one.message,
                    hint=one.mend,
                    next_steps=["aeterna-cli backup list  # choose another backup"],
                    details=dict(one.details),
                )
        return {"volumes": len(volumes)}

    # -- PostgreSQL

    def unpack_postgres(self, _run: StepRun) -> dict[str, Any]:
        """The base backup lies beside the old data, verified."""
        total = sum(one.plain_bytes for one in self.opened.part("postgres").volumes)
        done = unpack(
            self.opened,
            self._directory,
            on_bytes=lambda count: self._ctx.out.progress("PostgreSQL", count, total),
        )
        return {"bytes": done}

    def recover_postgres(self, run: StepRun) -> dict[str, Any]:
        """Recovered in a scratch start, looked at, hooks run, cleanly stopped: ready to serve."""
        from aeterna_cli.stores import postgres_scratch_files as files

        data, done = self._directory, run.last_checkpoint
        if done is not None and not files.state_folder(data).exists():
            return dict(done)  # given back before the crash
        settings = self._place.profile
        with recovered(
            self.opened,
            data,
            self._target(),
            bin_dir=settings.postgres.bin_dir,
            ahead=settings.restore.feeder_segments,
            stop=run.safe_point,
            on_wal=lambda count: self._ctx.out.progress("WAL", count, None),
        ) as scratch:
            if done is None:
                done = self._look(run, scratch)
                scratch.server.run_sql_files(
                    settings.restore.sql_hooks, database=settings.postgres.database
                )
                run.checkpoint(done)
            scratch.server.give_back()
        return dict(done)

    def _target(self) -> RecoveryTarget:
        choice = self.choice
        if choice.at is not None:
            return RecoveryTarget(time=choice.at)
        if choice.lsn is not None:
            return RecoveryTarget(lsn=choice.lsn, inclusive=False)
        if choice.name is not None:
            return RecoveryTarget(name=choice.name)
        return own_target(self.opened)

    def _look(self, run: StepRun, scratch: Recovered) -> dict[str, Any]:
        """Digests and ids where nobody else can write; ids are kept for the cross-store check."""
        from aeterna_cli.stores.postgres import PostgresServer
        from aeterna_cli.stores.postgres_snapshot import current_snapshot

        facts = self.opened.facts("postgres")
        settings = scratch.server.connect_settings(database=facts["database"])
        moved = self.choice.moves_postgres
        with current_snapshot(settings) as snapshot:
            compared = comparison.postgres(self.opened.manifest, snapshot.digests(), moved=moved)
            for rule in self.opened.manifest.orphans.get("rules", []):
                table, column = rule["rule"]["table"], rule["rule"]["id_column"]
                self._keep_ids(run, rule["volume"], list(snapshot.ids(table, column)))
        marker = PostgresServer(settings).marker()
        return {
            **asdict(scratch.facts),
            "lsn": lsn_text(scratch.facts.lsn),
            "segments": scratch.segments,
            "marker": marker,
            "compared": compared.as_document(),
        }

    def _keep_ids(self, run: StepRun, name: str, ids: list[str]) -> None:
        work = self._work(run)
        with local_faults(work), (work / name).open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(f"{one}\n" for one in sorted_lines(ids, work))

    # -- Redis and Qdrant

    def restore_redis(self, run: StepRun) -> dict[str, Any]:
        """The live server holds what was captured and nothing else, on disk too."""
        from aeterna_cli.stores.redis_load import load_from_scratch
        from aeterna_cli.stores.redis_scratch import ScratchRedis

        folder = self._work(run) / "redis"
        with local_faults(folder):
            folder.mkdir(mode=0o700, exist_ok=True)
        profile = self._place.profile.redis
        program = binaries.redis_server(profile.server_binary)
        with ScratchRedis(program, folder / "scratch", database=profile.database) as scratch:
            if self.opened.facts("redis")["method"] == "logical":
                self._load_redis_keys(scratch)
            else:
                self._load_redis_image(scratch, folder / "dump.rdb")
            marker = scratch.server.marker()
            loaded = load_from_scratch(
                self._place.redis, scratch, replace=True, stop=self._stopping
            )
        self._give_identity("redis")
        return {**asdict(loaded), "marker": marker}

    def _load_redis_keys(self, scratch: "ScratchRedis") -> None:
        scratch.start(stop=self._stopping)
        with self.opened.volume("redis", "keys.resp") as stream:
            blocks = iter(lambda: stream.read(1 << 20), b"")
            scratch.server.logical_restore(blocks, replace=True, stop=self._stopping)

    def _load_redis_image(self, scratch: "ScratchRedis", image: Path) -> None:
        with (
            local_faults(image),
            self.opened.volume("redis", "dump.rdb") as stream,
            image.open("wb") as file,
        ):
            shutil.copyfileobj(stream, file, 1 << 20)
        scratch.start(image, stop=self._stopping)

    def restore_qdrant(self, run: StepRun) -> dict[str, Any]:
        """Every collection of the backup is there again; finished ones are not repeated."""
        done = list(run.last_checkpoint or [])

        def finished(name: str) -> None:
            done.append(name)
            run.checkpoint(list(done))
            self._ctx.out.progress("Qdrant", len(done), len(restore.collections), "collections")

        restore = self._qdrant()
        restore.restore(tuple(done), finished, run.safe_point)
        self._give_identity("qdrant")
        return {"collections": len(restore.collections)}

    def _qdrant(self) -> QdrantRestore:
        facts = self.opened.facts("qdrant")

        def facts_of(name: str) -> tuple[int, str | None]:
            record = self.opened.record("qdrant", name)
            return record.plain_bytes, record.plain_sha256

        return QdrantRestore(
            self._place.qdrant,
            [CollectionDescription.from_document(one) for one in facts["collections"]],
            [Image.from_document(one) for one in facts["images"]],
            lambda name: self.opened.volume("qdrant", name),
            facts_of,
        )

    def _give_identity(self, name: str) -> None:
        """The deployment that was backed up gets its identity back; another one keeps its own."""
        same = self._place.id == self.opened.manifest.deployment
        wanted = self.opened.part(name).identity if same else None
        getattr(self._place, name).ensure_identity(wanted)

    # -- data in place: compare, hooks, serve

    def compare(self, run: StepRun) -> dict[str, Any]:
        """Everything that was restored against the manifest, before anybody is served."""
        manifest, stores = self.opened.manifest, self.choice.stores
        found: list[dict[str, Any]] = []
        if "postgres" in stores:
            found.append(run.results["recover-postgres"]["compared"])
        if "qdrant" in stores:
            found.append(comparison.qdrant(manifest, self._place.qdrant).as_document())
        if "redis" in stores:
            now = self._ctx.clock()
            found.append(comparison.redis(manifest, self._place.redis, now).as_document())
        if {"postgres", "qdrant"} <= set(stores):
            found.append(self._compare_orphans(run).as_document())
        found.append(self._compare_markers(run).as_document())
        return {"compared": found}

    def _compare_orphans(self, run: StepRun) -> Compared:
        manifest, work = self.opened.manifest, self._work(run)
        rules = manifest.orphans.get("rules", [])
        return comparison.orphans(
            manifest,
            {rule["volume"]: work / rule["volume"] for rule in rules},
            self._place.qdrant,
            work,
            moved=self.choice.moves_postgres,
        )

    def _compare_markers(self, run: StepRun) -> Compared:
        found: dict[str, int | None] = {}
        if "postgres" in self.choice.stores and not self.choice.moves_postgres:
            found["postgres"] = run.results["recover-postgres"]["marker"]
        if "redis" in self.choice.stores and "marker" in run.results["restore-redis"]:
            found["redis"] = run.results["restore-redis"]["marker"]
        return comparison.markers(self.opened.manifest, found)

    def run_hooks(self, run: StepRun) -> dict[str, Any]:
        """The profile's programs, in order, between "data in place" and "serving"."""
        environment = {
            **os.environ,
            "AETERNA_RESTORE_BACKUP": self.opened.id,
            "AETERNA_RESTORE_OPERATION": run.operation,
            "AETERNA_RESTORE_PROFILE": self._place.name,
            "AETERNA_RESTORE_DATA": str(self._prepared or ""),
        }
        hooks = self._place.profile.restore.hooks
        for hook in hooks:
            run.safe_point()
            _run_program(hook, environment)
        return {"hooks": len(hooks)}

    def serve_qdrant(self, _run: StepRun) -> dict[str, Any]:
        """Aliases point to the restored collections."""
        self._qdrant().point_aliases()
        return {}

    def serve_postgres(self, run: StepRun) -> dict[str, Any]:
        """The recovered directory is in place of the old one, which is renamed, and served."""
        control = self._place.server_control
        control.stop("postgres")
        replaced = control.replace_data("postgres", self._directory)
        run.checkpoint({"replaced": str(replaced) if replaced else None})
        control.start("postgres")
        self._place.postgres.identity()
        return {"replaced": str(replaced) if replaced else None}

    def clean_up(self, run: StepRun) -> dict[str, Any]:
        """Our own unfinished files are gone; identities are pinned."""
        shutil.rmtree(self._place.cache_directory / "restore" / run.operation, ignore_errors=True)
        identities: dict[str, str | None] = {}
        for name in ("qdrant", "redis"):
            if name in self.choice.stores:
                identities[name] = getattr(self._place, name).identity().identity_key
        if "postgres" in self.choice.stores and self.choice.data_dir is None:
            identities["postgres"] = self._place.postgres.identity().system_identifier
        self._place.pins.record(identities)
        return {}

    # -- places

    @property
    def _directory(self) -> Path:
        if self._prepared is None:
            raise RefusedError("no_directory", "PostgreSQL is not part of this restore")
        return self._prepared

    def _work(self, run: StepRun) -> Path:
        folder = self._place.cache_directory / "restore" / run.operation
        with local_faults(folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    def _stopping(self) -> bool:
        return self._ctx.stop.requested


def _run_program(words: tuple[str, ...], environment: dict[str, str]) -> None:
    try:
        done = helpers.run(words, env=environment)
    except OSError as error:
        raise FailedError(
            "hook_missing", f"the restore hook {words[0]} cannot be run: {error.strerror}"
        ) from error
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise FailedError(
            "hook_failed",
            f"the restore hook {words[0]} exited with {done.returncode}; nothing is served yet",
            hint=" ".join(last),
        )
