"""The stages in which a peer of Qdrant is missed: marker, copies, drops, proof.

What a stage has to do is read from the cluster when it begins, so that one that was cut off has
only the rest to do. The names of the stages depend on the options alone.
"""

import time
from collections.abc import Callable, Iterable
from typing import Any

from aeterna_cli.errors import AeternaError, DegradedError, FailedError, RefusedError
from aeterna_cli.operations.step_run import StepRun
from aeterna_cli.stores.base.qdrant_cluster import ClusterPicture, QdrantClusterStore
from aeterna_cli.workflows.failover.component import Stage
from aeterna_cli.workflows.failover.qdrant_needs import (
    Copy,
    copies_to_empty,
    copies_to_restore,
    drops_of,
    wanted_elsewhere,
)

MARKER, COPY, DROP, REMOVE, VERIFY = (
    "qdrant:marker", "qdrant:copy", "qdrant:drop", "qdrant:remove-peer", "qdrant:verify",
)  # fmt: skip
_SHORT_SECONDS = 60.0
#: How long the counts of both ends of a copy may differ while updates go on.
COMPARE_SECONDS = 5.0
_LOOK_AGAIN = 0.1


class QdrantStages:
    """``peers`` are the ids of those taken out of service; ``copies`` how many copies are due."""

    def __init__(
        self,
        store: QdrantClusterStore,
        peers: tuple[int, ...],
        copy_seconds: float,
        copies: int,
    ) -> None:
        self._store = store
        self._peers = peers
        self._copy_seconds = copy_seconds
        self._copy_limit = copy_seconds * copies + _SHORT_SECONDS

    def switchover(self, *, drop: bool) -> tuple[Stage, ...]:
        """Afterwards the peer may be stopped."""
        (peer,) = self._peers

        def due(picture: ClusterPicture) -> list[Copy]:
            copies, impossible = copies_to_empty(picture, peer, drop=drop)
            if impossible:
                raise RefusedError(
                    "qdrant_peer_needed", f"not served without peer {peer}: {impossible[0]}"
                )
            return copies

        def stay(_run: StepRun) -> None:
            self._check_quorum_without(peer)

        stages = [
            Stage(MARKER, self._write_marker, _SHORT_SECONDS, check=stay),
            self._copy_stage(due, check=stay),
        ]
        if drop:
            stages.append(self._drop_stage(living=True))
        return (
            *stages,
            Stage(
                VERIFY,
                lambda run: self._prove(run, drop=drop),
                _SHORT_SECONDS,
                note="the peer may be stopped when this has succeeded",
            ),
        )

    def failover(self, *, remove: bool) -> tuple[Stage, ...]:
        """Afterwards every shard that is served has its replicas on living peers."""
        stages = [
            Stage(MARKER, self._try_marker, _SHORT_SECONDS, check=self._check_dead),
            self._copy_stage(lambda picture: copies_to_restore(picture)[0], self._check_dead),
            self._drop_stage(living=False),
        ]
        if remove:
            note = "the peer joins again only as a new, empty one"
            stages.append(
                Stage(REMOVE, self._remove_peers, _SHORT_SECONDS, check=self._check_dead, note=note)
            )
        return (*stages, Stage(VERIFY, self._prove_restored, _SHORT_SECONDS))

    # Checks

    def _check_quorum_without(self, peer: int) -> None:
        picture = self._store.picture(())
        rest = picture.quorum - {peer}
        if 2 * len(rest) <= len(picture.known):
            raise RefusedError(
                "qdrant_quorum_would_be_lost",
                f"without peer {peer} only {len(rest)} of {len(picture.known)} peers would agree",
            )

    def _check_dead(self, _run: StepRun) -> None:
        """A peer that has come back is not treated as dead."""
        picture = self._store.picture(())
        back = sorted(picture.quorum & set(self._peers))
        if back:
            raise RefusedError(
                "qdrant_peer_alive",
                f"peer {back[0]} is back in the consensus",
                hint="look again with `aeterna-cli failover status`: it may be filled already",
            )

    # Stages

    def _write_marker(self, _run: StepRun) -> Any:
        return {"marker": self._store.write_marker()}

    def _try_marker(self, run: StepRun) -> Any:
        """Where the marker's own shard has died, the other shards are rescued all the same."""
        try:
            return self._write_marker(run)
        except RefusedError:
            raise
        except AeternaError as error:
            run.emit("warning", message=f"no marker was written: {error.message}")
            return {"marker": None, "reason": error.code}

    def _copy_stage(
        self,
        due: Callable[[ClusterPicture], list[Copy]],
        check: Callable[[StepRun], None],
    ) -> Stage:
        def do(run: StepRun) -> Any:
            picture = self._store.picture()
            return {"copies": self._copy_all(run, picture, due(picture))}

        def verify(_run: StepRun) -> None:
            left = due(self._store.picture())
            if left:
                raise FailedError(
                    "qdrant_copies_missing",
                    f"{left[0].collection}, shard {left[0].shard} has too few sound replicas",
                )

        return Stage(
            COPY, do, self._copy_limit, check=check, verify=verify, undo=self._undo_copies,
            note="a copy that did not finish is taken back, one that did is kept: it does no harm",
        )  # fmt: skip

    def _copy_all(self, run: StepRun, picture: ClusterPicture, copies: Iterable[Copy]) -> list[str]:
        done: list[str] = []
        begun: list[list[Any]] = list(run.last_checkpoint or [])
        for one in copies:
            shard = picture.shard(one.collection, one.shard)
            if shard is not None and one.target not in shard.states:
                # Only a replica that we have made may be taken back.
                begun.append([one.collection, one.shard, one.target])
            run.checkpoint(begun)
            run.emit("copy", collection=one.collection, shard=one.shard, target=str(one.target))
            self._store.replicate(
                one.collection,
                one.shard,
                one.source,
                one.target,
                limit=self._copy_seconds,
                look=run.safe_point,
            )
            points = self._compare(run, one)
            told = "not counted" if points is None else f"{points} points"
            done.append(f"{one.collection}, shard {one.shard} on peer {one.target}, {told}")
        return done

    def _compare(self, run: StepRun, one: Copy) -> int | None:
        """The number of points at both ends, once it is the same; None where nobody tells.

        Under live updates two counts of one moment differ now and then; they do not stay different.
        """
        deadline = time.monotonic() + COMPARE_SECONDS
        while True:
            run.safe_point()
            ends = (one.source, one.target)
            found = self._store.counts(one.collection, one.shard, ends)
            if not found:
                return None
            if found[one.source] == found[one.target]:
                return found[one.source]
            if time.monotonic() > deadline:
                raise FailedError(
                    "qdrant_copy_differs",
                    f"{one.collection}, shard {one.shard} has {found[one.source]} points on peer "
                    f"{one.source} and {found[one.target]} on the copy on peer {one.target}",
                    hint="nothing was dropped; Qdrant before 1.17.0 can lose updates in a transfer",
                    details={str(peer): number for peer, number in found.items()},
                )
            time.sleep(_LOOK_AGAIN)

    def _undo_copies(self, run: StepRun) -> None:
        """No transfer of ours runs and no half-made replica is left; whole copies stay."""
        for collection, number, target in run.last_checkpoint or []:
            picture = self._store.picture((collection,))
            shard = picture.shard(collection, number)
            if shard is None or target not in shard.states or target in picture.sound(shard):
                continue
            of = picture.collection(collection)
            for transfer in of.transfers if of else ():
                if (transfer.shard, transfer.target) == (number, target):
                    self._store.abort(transfer, limit=_SHORT_SECONDS)
            self._store.drop(collection, number, target, limit=_SHORT_SECONDS)

    def _drop_stage(self, *, living: bool) -> Stage:
        def check(run: StepRun) -> None:
            if not living:
                self._check_dead(run)

        def do(run: StepRun) -> Any:
            dropped: list[str] = []
            for one in drops_of(self._store.picture(), self._peers, living=living):
                run.safe_point()
                if not living:
                    self._check_dead(run)
                self._store.drop(
                    one.collection, one.shard, one.peer, leave=one.leave, limit=_SHORT_SECONDS
                )
                dropped.append(f"{one.collection}, shard {one.shard} on peer {one.peer}")
                run.checkpoint(dropped)
            return {"drops": dropped}

        def verify(_run: StepRun) -> None:
            left = list(drops_of(self._store.picture(), self._peers, living=living))
            if left:
                raise FailedError(
                    "qdrant_replica_left", f"{left[0].collection}, shard {left[0].shard} is there"
                )

        return Stage(DROP, do, self._copy_limit, check=check, verify=verify)

    def _remove_peers(self, _run: StepRun) -> Any:
        for peer in self._peers:
            self._store.remove_peer(peer, limit=_SHORT_SECONDS)
        return {"removed": [str(one) for one in self._peers]}

    # Proofs

    def _prove(self, run: StepRun, *, drop: bool) -> Any:
        """Every shard of the peer is served elsewhere, and the marker is read everywhere else."""
        (peer,) = self._peers
        picture = self._store.picture()
        self._check_quorum_without(peer)
        for of, shard in picture.shards():
            others = [one for one in picture.sound(shard) if one != peer]
            if len(others) < wanted_elsewhere(of, shard, peer, drop) and peer in shard.states:
                raise FailedError(
                    "qdrant_peer_needed", f"{shard.name} is not served without peer {peer}"
                )
            if drop and peer in shard.states:
                raise FailedError("qdrant_replica_left", f"{shard.name} is still on peer {peer}")
        read = self._read_marker(run, picture.quorum - {peer})
        return {"may_be_stopped": str(peer), "marker_read_through": read}

    def _prove_restored(self, run: StepRun) -> Any:
        """``DegradedError`` where shards stay without any sound replica, or short of some."""
        picture = self._store.picture()
        copies, unserved, short = copies_to_restore(picture)
        if copies:
            raise FailedError(
                "qdrant_copies_missing",
                f"{copies[0].collection}, shard {copies[0].shard} has too few sound replicas",
            )
        read = self._read_marker(run, picture.quorum)
        if unserved or short:
            names = ", ".join((unserved or short)[:5])
            raise DegradedError(
                "qdrant_shards_unserved" if unserved else "qdrant_replicas_short",
                f"no sound replica is left of {names}"
                if unserved
                else f"too few peers are left for all replicas of {names}",
                hint="bring their peers back, or restore these collections from a backup"
                if unserved
                else "add a peer; every shard is served",
                details={"unserved": unserved, "short": short, "marker_read_through": read},
            )
        return {"marker_read_through": read}

    def _read_marker(self, run: StepRun, peers: Iterable[int]) -> list[str]:
        results = (found for name, found in run.results.items() if name.endswith(MARKER))
        wanted = (next(results, None) or {}).get("marker")
        if wanted is None:
            return []
        read: list[str] = []
        for peer in sorted(peers):
            found = self._store.marker(peer)
            if found is None or found < wanted:
                raise FailedError(
                    "qdrant_marker_lost",
                    f"marker {wanted} was written and peer {peer} reads {found}",
                    details={"peer": str(peer), "wanted": wanted, "found": found},
                )
            read.append(str(peer))
        return read
