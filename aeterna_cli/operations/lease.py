"""Leases: who may work on what, told by the repository's own conditional writes and clock.

One object per component, ``leases/<component>.json``, with its holders: many that share, or one
that does not. Every change is a conditional write, so of two racers one wins. A holder proves that
it lives by a heartbeat; without one for ``void`` seconds on the *store's* clock it is void. One on
this very machine whose process is gone is void at once. ``fence`` grows with every acquisition and
is never reset: targets that can compare numbers refuse an older one.
"""

import json
import os
import secrets
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any

from aeterna_cli.errors import AeternaError, ConflictError, RefusedError, RemoteError
from aeterna_cli.stores.base.objects import ObjectStore

HEARTBEAT = 15.0  # seconds
VOID = 60.0  # seconds
_SCHEMA = "aeterna.lease/1"
_RACES = 40  # lost conditional writes before we say that it is contended
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")


@dataclass(frozen=True)
class LeaseRequest:
    """What an operation wants for itself (or, ``shared``, together with others that share)."""

    component: str
    shared: bool = False


@dataclass(frozen=True)
class Holder:
    """Who holds a lease. ``beat`` and ``since`` are on the store's clock, RFC 3339; ``process``
    says which process on which machine, "" where that cannot be told."""

    operation: str
    actor: str
    token: str
    shared: bool
    since: str
    beat: str
    process: str


def lease_key(component: str) -> str:
    """The object of a component; characters that a key may not hold are written as ``=XX``."""
    name = "".join(
        character if character in _PLAIN else "".join(f"={byte:02X}" for byte in character.encode())
        for character in component
    )
    return f"leases/{name}.json"


def this_process() -> str:
    """This process for ever: boot, pid namespace, pid and start time. Source: proc(5)."""
    return _process(os.getpid())


def _process(pid: int) -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        space = Path("/proc/self/ns/pid").readlink()
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        state, *rest = fields.rpartition(")")[2].split()
    except (OSError, ValueError):
        return ""
    return "" if state in "ZX" else f"{boot}/{space}/{pid}/{rest[18]}"


def _is_dead_here(process: str) -> bool:
    """Whether the holder ran on this machine, where we can see it, and is gone."""
    boot, _, rest = process.partition("/")
    space, _, tail = rest.partition("/")
    pid = tail.partition("/")[0]
    ours = this_process()
    if not (boot and ours.startswith(f"{boot}/{space}/") and pid.isdecimal()):
        return False
    return _process(int(pid)) != process and not _is_hidden(int(pid))


def _is_hidden(pid: int) -> bool:
    """Whether it is another user's process that /proc does not show us (mount option hidepid)."""
    if Path(f"/proc/{pid}").exists():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


def is_void(holder: Holder, now: datetime, void: float) -> bool:
    """Whether this holder gave no sign of life for ``void`` seconds, or died on this machine."""
    return now - _moment(holder.beat) > timedelta(seconds=void) or _is_dead_here(holder.process)


def living_holders(store: ObjectStore, component: str, *, void: float = VOID) -> list[Holder]:
    """Who holds the lease on a component now."""
    now = store.now()
    _etag, _fence, holders = _read(store, lease_key(component))
    return [one for one in holders if not is_void(one, now, void)]


class Lease:
    """One lease with its own heartbeat thread: ``acquire`` takes it, ``release`` gives it back."""

    def __init__(
        self,
        store: ObjectStore,
        request: LeaseRequest,
        *,
        operation: str,
        actor: str,
        heartbeat: float = HEARTBEAT,
        void: float = VOID,
    ) -> None:
        self.request = request
        self.fence = 0
        self.dropped: tuple[str, ...] = ()  # operations whose void holders ``acquire`` put away
        self._store = store
        self._key = lease_key(request.component)
        self._operation = operation
        self._actor = actor
        self._heartbeat = heartbeat
        self._void = void
        self._token = secrets.token_hex(16)
        self._confirmed = 0.0  # our clock, monotonic: before the last write that was acknowledged
        self._lost: ConflictError | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)

    def void_operations(self) -> tuple[str, ...]:
        """Other operations whose holders are void now; nothing is changed."""
        now = self._store.now()
        _etag, _fence, holders = _read(self._store, self._key)
        return self._others([one for one in holders if is_void(one, now, self._void)])

    def acquire(self) -> None:
        """It is ours when this returns. ``ConflictError('lease_held')`` names who has it.

        Void holders are put away; ``dropped`` then names their operations, ours not among them.
        """
        self._change(self._add)
        self._thread.start()

    def assert_held(self) -> None:
        """``ConflictError('lease_lost')`` where we can no longer be sure that it is ours."""
        if self._lost is not None:
            raise self._lost
        if monotonic() - self._confirmed > self._void:
            raise self._gone("its heartbeat could not be written in time")

    def release(self) -> None:
        """We are no holder any more; the object with its fence number stays. Safe to repeat."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._lost is None:
            self._change(lambda holders, _now: [h for h in holders if h.token != self._token])

    def _run(self) -> None:
        while not self._stop.wait(self._heartbeat):
            try:
                self._change(self._beat)
            except ConflictError as error:
                self._lost = self._gone(error.message)
                return
            except AeternaError:
                continue  # tried again at the next beat; assert_held knows how long it has been

    # -- what a change does to the holders

    def _add(self, holders: list[Holder], now: datetime) -> list[Holder]:
        void = [one for one in holders if is_void(one, now, self._void)]
        others = [one for one in holders if one not in void and not self._is_our_past(one)]
        for one in others:
            if one.operation == self._operation or not (one.shared and self.request.shared):
                raise self._held(one)
        self.dropped = self._others(void)
        moment = now.isoformat()
        mine = Holder(
            self._operation,
            self._actor,
            self._token,
            self.request.shared,
            moment,
            moment,
            this_process(),
        )
        return [*others, mine]

    def _others(self, holders: Sequence[Holder]) -> tuple[str, ...]:
        names = dict.fromkeys(one.operation for one in holders)
        return tuple(name for name in names if name != self._operation)

    def _is_our_past(self, holder: Holder) -> bool:
        """This very process held it for the same operation and could not give it back."""
        return holder.operation == self._operation and holder.process == this_process() != ""

    def _beat(self, holders: list[Holder], now: datetime) -> list[Holder]:
        if self._token not in [one.token for one in holders]:
            raise self._gone("somebody else took it")
        return [
            Holder(**{**asdict(one), "beat": now.isoformat()}) if one.token == self._token else one
            for one in holders
        ]

    def _change(self, change: Callable[[list[Holder], datetime], list[Holder]]) -> None:
        """One conditional write; whoever loses a race looks again."""
        for _ in range(_RACES):
            asked = monotonic()
            now = self._store.now()
            etag, fence, known = _read(self._store, self._key)
            holders = change(known, now)
            added = any(one.token == self._token for one in holders) and not any(
                one.token == self._token for one in known
            )
            data = _as_bytes(self.request.component, fence + added, holders)
            try:
                if etag is None:
                    self._store.create(self._key, data)
                else:
                    self._store.replace(self._key, data, etag=etag)
            except ConflictError:
                continue
            self._confirmed = asked
            self.fence = fence + added if added else self.fence
            return
        raise ConflictError(
            "lease_contended",
            f"the lease on {self.request.component} keeps changing",
            next_steps=["try again"],
        )

    def _held(self, holder: Holder) -> ConflictError:
        until = _moment(holder.beat) + timedelta(seconds=self._void)
        void_at = until.isoformat(timespec="seconds")
        return ConflictError(
            "lease_held",
            f"{holder.actor} works on {self.request.component} (operation {holder.operation},"
            f" since {holder.since})",
            hint=f"last sign of life {holder.beat}; void without another at {void_at}",
            next_steps=[f"aeterna-cli operation show {holder.operation}"],
            details={"holder": asdict(holder), "void_at": void_at},
        )

    def _gone(self, why: str) -> ConflictError:
        return ConflictError(
            "lease_lost",
            f"the lease on {self.request.component} is no longer ours: {why}",
            hint="nothing more was done; somebody else may be at work now",
            next_steps=["aeterna-cli operation list --unfinished"],
        )


def _read(store: ObjectStore, key: str) -> tuple[str | None, int, list[Holder]]:
    """Etag, fence and holders; the etag is read first, so a change between is noticed."""
    try:
        etag = store.info(key).etag
        document = json.loads(store.read(key))
        holders = [Holder(**holder) for holder in document["holders"]]
        for one in holders:
            _moment(one.beat)
        if document["schema"] != _SCHEMA:
            raise ValueError(document["schema"])
        return etag, int(document["fence"]), holders
    except RefusedError as error:
        if error.code != "object_missing":
            raise
        return None, 0, []
    except (ValueError, KeyError, TypeError) as error:
        raise RemoteError(
            "lease_damaged", f"{key} is not a lease that we can read", details={"key": key}
        ) from error


def _as_bytes(component: str, fence: int, holders: Sequence[Holder]) -> bytes:
    document: dict[str, Any] = {
        "schema": _SCHEMA,
        "component": component,
        "fence": fence,
        "holders": [asdict(holder) for holder in holders],
    }
    return json.dumps(document, sort_keys=True).encode()


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
