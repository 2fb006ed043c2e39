"""Creating an object exactly once, also when the answer to a write is lost."""

from aeterna_cli.errors import ConflictError, RefusedError, TransientError
from aeterna_cli.stores.base.objects import ObjectStore


def create_once(store: ObjectStore, key: str, data: bytes) -> None:
    """``key`` holds ``data`` when this returns, written by us now or in an attempt before.

    ``ConflictError('object_exists')`` when it holds something else. A ``TransientError`` is raised
    only after looking: there is no such object then, or nobody could look.
    """
    try:
        store.create(key, data)
    except (ConflictError, TransientError) as error:
        try:
            found = store.read(key)
        except RefusedError:
            raise error from None
        if found != data:
            raise _taken(key) from error


def _taken(key: str) -> ConflictError:
    return ConflictError("object_exists", f"{key} exists already with another content")
