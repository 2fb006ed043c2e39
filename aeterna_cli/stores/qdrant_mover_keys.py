"""Moving a tenant between shard keys of one collection by the server's own ``replicate_points``.

The server applies every write of the source to the target from the start of the transfer on, and
an application that names ``{"target", "fallback"}`` is switched by the server when the target is
Active. Servers before 1.17.0 may lose updates that were pending then (#8103).
"""

from collections.abc import Callable
from time import monotonic, sleep
from typing import Any

from aeterna_cli.errors import AeternaError, FailedError, RefusedError, TransientError
from aeterna_cli.stores.base.qdrant import ShardKey
from aeterna_cli.stores.qdrant_mover_end import QdrantEnd
from aeterna_cli.stores.qdrant_mover_prepare import Record

FIRST = (1, 16, 0)
SAFE = (1, 17, 0)
ALLOWED_BY_NAME = "qdrant-1.16"
_POLL = 0.2


def refuse_version(version: tuple[int, ...], *, allowed: bool) -> None:
    """``RefusedError``: ``qdrant_too_old`` before 1.16, ``qdrant_transfer_unsafe`` for 1.16."""
    text = ".".join(map(str, version))
    if version < FIRST:
        raise RefusedError(
            "qdrant_too_old",
            f"Qdrant {text} cannot move points between shard keys: that needs 1.17",
            next_steps=["upgrade Qdrant one minor version at a time: see runbooks/tenant.md"],
        )
    if version < SAFE and not allowed:
        raise RefusedError(
            "qdrant_transfer_unsafe",
            f"Qdrant {text} may lose updates that are pending while it transfers points (#8103)",
            hint="fixed in 1.17.0; what was lost is found by the verification, not prevented",
            next_steps=[
                "upgrade Qdrant to 1.17.1: see runbooks/tenant.md",
                f"or add --allow {ALLOWED_BY_NAME}",
            ],
        )


class KeyTransfer:
    """One transfer from the key of ``source`` to the key of ``target``, which are ends of one
    collection on one server in cluster mode."""

    def __init__(self, source: QdrantEnd, target: QdrantEnd) -> None:
        self._source = source
        self._target = target
        self._from: ShardKey | None = source.place.shard_key
        self._to: ShardKey | None = target.place.shard_key

    def refuse_unable(self) -> None:
        """``RefusedError('cluster_mode_needed' | 'shard_key_layout')``; reads only."""
        cluster = self._source.writing.call("GET", "/cluster")
        if cluster.get("status") != "enabled":
            raise _standalone()
        states = self._states()
        if len(states.get(self._from, [])) != 1:
            raise RefusedError(
                "shard_key_layout",
                f"shard key {self._from!r} has {len(states.get(self._from, []))} shards:"
                " the server moves points from exactly one",
                hint="move to a collection of its own instead",
            )

    def prepare(self, record: Record) -> None:
        """The target key is there, not yet readable. One that a failed transfer left behind is
        dropped first: it would keep points that were deleted meanwhile."""
        states = self._states()
        if self._to in states and not self._running():
            if set(states[self._to]) <= {"Active", "ActiveRead"}:
                return
            self.drop()
            states = self._states()
        if self._to in states:
            return
        record("shard_key", str(self._to))
        body = {
            "shard_key": self._to,
            "shards_number": 1,
            "replication_factor": 1,
            "initial_state": "Partial",
        }
        self._cluster_call("PUT", f"{self._target.path}/shards", body)

    def start(self) -> None:
        """The transfer runs or is done when this returns; may be repeated."""
        states = self._states().get(self._to, [])
        if self._running() or (states and set(states) == {"Active"}):
            return
        body = {
            "replicate_points": {
                "from_shard_key": self._from,
                "to_shard_key": self._to,
                "filter": {"must": self._source.tenant},
            }
        }
        self._cluster_call("POST", f"{self._source.path}/cluster", body)

    def wait(self, on_look: Callable[[str], None], timeout: float) -> None:
        """The target is Active when this returns.

        ``FailedError('transfer_failed')`` where the transfer ended in any other state;
        ``TransientError('transfer_runs_on')`` after ``timeout`` seconds. ``on_look`` gets the
        server's own words at each look.
        """
        deadline = monotonic() + timeout
        ended = 0
        while True:
            running = self._running()
            states = set(self._states().get(self._to, []))
            on_look(running or f"shard key {self._to!r} is {', '.join(sorted(states)) or 'gone'}")
            if not running and states == {"Active"}:
                return
            # The list empties a moment before the state changes: look twice before judging.
            ended = 0 if running else ended + 1
            if states & {"Dead"} or not states or (ended > 5 and states != {"ActiveRead"}):
                raise FailedError(
                    "transfer_failed",
                    f"the transfer to shard key {self._to!r} ended and left it"
                    f" {', '.join(sorted(states)) or 'gone'}",
                    hint="the same command drops the key and starts again; readers and writers"
                    " are on the old key",
                )
            if monotonic() > deadline:
                raise TransientError(
                    "transfer_runs_on",
                    f"the transfer to shard key {self._to!r} is not over after {timeout:g} s",
                    hint=running,
                )
            sleep(_POLL)

    def abort(self) -> None:
        """No transfer runs when this returns."""
        information = self._information()
        for one in information["shard_transfers"]:
            if one.get("to_shard_id") in self._ids(information, self._to):
                body = {
                    "abort_transfer": {
                        "shard_id": one["shard_id"],
                        "to_shard_id": one["to_shard_id"],
                        "from_peer_id": one["from"],
                        "to_peer_id": one["to"],
                    }
                }
                self._cluster_call("POST", f"{self._source.path}/cluster", body)

    def drop(self) -> None:
        """The target key is not there when this returns. Never after the switch."""
        self.abort()
        if self._to in self._states():
            body = {"shard_key": self._to}
            self._cluster_call("POST", f"{self._target.path}/shards/delete", body)

    def states(self) -> tuple[str, ...]:
        """Of the target key's replicas; empty where there is no such key."""
        return tuple(self._states().get(self._to, []))

    def _cluster_call(self, method: str, path: str, body: Any) -> None:
        try:
            self._target.writing.call(method, path, body)
        except AeternaError as error:
            if error.details.get("status") == 405:
                raise _standalone() from error
            raise

    def _information(self) -> dict[str, Any]:
        found: dict[str, Any] = self._source.writing.call("GET", f"{self._source.path}/cluster")
        return found

    def _states(self) -> dict[ShardKey | None, list[str]]:
        found: dict[ShardKey | None, list[str]] = {}
        information = self._information()
        for shard in [*information["local_shards"], *information["remote_shards"]]:
            found.setdefault(shard.get("shard_key"), []).append(str(shard["state"]))
        return found

    @staticmethod
    def _ids(information: dict[str, Any], key: ShardKey | None) -> set[int]:
        shards = [*information["local_shards"], *information["remote_shards"]]
        return {int(one["shard_id"]) for one in shards if one.get("shard_key") == key}

    def _running(self) -> str:
        """The server's words about the transfer to the target; "" where none runs."""
        information = self._information()
        ids = self._ids(information, self._to)
        for one in information["shard_transfers"]:
            if one.get("to_shard_id") in ids:
                return str(one.get("comment") or "the transfer runs")
        return ""


def _standalone() -> RefusedError:
    return RefusedError(
        "cluster_mode_needed",
        "this Qdrant runs without cluster mode, which shard keys need (it answers 405)",
        next_steps=[
            "start Qdrant with cluster.enabled: true (one node is enough)",
            "or move to a collection of its own",
        ],
    )


def make_key(end: QdrantEnd, record: Record) -> None:
    """The shard key of this end is there and takes writes; may be repeated."""
    information = end.writing.call("GET", f"{end.path}/cluster")
    shards = [*information["local_shards"], *information["remote_shards"]]
    if any(one.get("shard_key") == end.place.shard_key for one in shards):
        return
    record("shard_key", str(end.place.shard_key))
    body = {"shard_key": end.place.shard_key, "shards_number": 1}
    try:
        end.writing.call("PUT", f"{end.path}/shards", body)
    except AeternaError as error:
        if error.details.get("status") == 405:
            raise _standalone() from error
        raise


def drop_empty_key(end: QdrantEnd) -> bool:
    """Drop this end's shard key if it holds no point of anybody; whether it is gone."""
    information = end.writing.call("GET", f"{end.path}/cluster")
    shards = [*information["local_shards"], *information["remote_shards"]]
    mine = [one for one in shards if one.get("shard_key") == end.place.shard_key]
    if not mine:
        return True
    body = end.addressed({"exact": True})
    if int(end.writing.call("POST", f"{end.path}/points/count", body)["count"]):
        return False
    end.writing.call("POST", f"{end.path}/shards/delete", {"shard_key": end.place.shard_key})
    return True
