"""Whether a store keeps the promise that leases, journal and catalogue rest on: one winner.

Some S3 servers take ``If-None-Match`` and ``If-Match`` and ignore them: every racing writer
believes that it won. Only trying it shows that.
"""

import secrets
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from aeterna_cli.errors import ConflictError
from aeterna_cli.stores.base.findings import Finding
from aeterna_cli.stores.base.objects import ObjectStore

RACERS = 8


def probe_conditional_writes(store: ObjectStore) -> Sequence[Finding]:
    """Let eight writers race for a key, then for its replacement; a finding where not one won.

    Writes below ``probe/`` and removes it again, whatever happened.
    """
    key = f"probe/{secrets.token_hex(8)}"
    contents = [f"racer {number}".encode() for number in range(RACERS)]
    try:
        created = _winners([_creation(store, key, content) for content in contents])
        # Where nobody refused, what is stored now is still the version to race for.
        before = store.info(key).etag
        replaced = _winners([_replacement(store, key, content, before) for content in contents])
    finally:
        store.delete([key])
    found = [_judged(store, "create", created), _judged(store, "replace", replaced)]
    return [finding for finding in found if finding is not None]


def _creation(store: ObjectStore, key: str, content: bytes) -> Callable[[], object]:
    return lambda: store.create(key, content)


def _replacement(store: ObjectStore, key: str, content: bytes, etag: str) -> Callable[[], object]:
    return lambda: store.replace(key, b"replaced by " + content, etag=etag)


def _winners(writes: Sequence[Callable[[], object]]) -> int:
    """How many of these writes, started together, were acknowledged."""
    start = threading.Barrier(len(writes))

    def race(write: Callable[[], object]) -> bool:
        start.wait()
        try:
            write()
        except ConflictError:
            return False
        return True

    with ThreadPoolExecutor(len(writes)) as pool:
        return sum(pool.map(race, writes))


def _judged(store: ObjectStore, what: str, winners: int) -> Finding | None:
    if winners == 1:
        return None
    return Finding(
        code="conditional_writes_ignored",
        severity="error",
        subject=store.description,
        message=f"{winners} of {RACERS} racing writers won a conditional {what}; one must win",
        mend="use a store that honours If-None-Match and If-Match, or a directory",
        details={"what": what, "winners": winners, "racers": RACERS},
    )
