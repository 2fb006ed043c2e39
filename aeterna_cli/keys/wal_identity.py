"""The identities of the WAL archive: one for each day, so that a leaked one opens one day.

``wal-keys/<yyyy-mm-dd>/slots/0.json`` makes a day's identity: whoever creates it first decides, the
others seal for its recipient. Slots of higher numbers are the same identity wrapped anew.

A recipient that is found in the repository is believed only with the deployment's signature: else
whoever may write there could have our WAL sealed for himself.

Which identity sealed a chunk is not written down: an age file does not name its recipient, and a
stored object's date changes when a repository is copied. A reader tries: the identity that opened
the last chunk, then the days next to it, then all others. WAL is read in order, so nearly every
chunk opens at the first try, and a day's identity is unwrapped once.
"""

import base64
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from threading import Lock

from aeterna_cli.errors import AeternaError, ConflictError, RefusedError, RemoteError
from aeterna_cli.keys import slots
from aeterna_cli.stores.base.keys import KeyService
from aeterna_cli.stores.base.objects import ObjectStore

Unseal = Callable[[bytes, str], bytes]


class WalRecipients:
    """For whom WAL is sealed today. Never unwraps: a backup host needs no right to read backups.

    ``folder`` is ``layout.WAL_KEYS``; ``sign`` and ``verify`` are the deployment's signing key and
    ``Repository.verify``. Safe to use from several threads.
    """

    def __init__(
        self,
        store: ObjectStore,
        folder: str,
        *,
        repository: str,
        key_service: KeyService,
        sign: Callable[[bytes], bytes],
        verify: Callable[[bytes, bytes], None],
        offline: Sequence[str] = (),
    ) -> None:
        self._store = store
        self._folder = folder
        self._repository = repository
        self._key_service = key_service
        self._sign = sign
        self._verify = verify
        self._offline = tuple(offline)
        self._mutex = Lock()
        self._known: tuple[date, str] | None = None

    def current(self, now: datetime) -> tuple[str, ...]:
        """The recipients of the day of ``now`` in UTC, the offline ones last.

        Their identity is stored, wrapped, when this returns; it is in no memory. What the key
        service and the store raise; ``RemoteError('signature_invalid')`` for a slot that this
        deployment did not sign: nothing may be sealed for it.
        """
        day = now.astimezone(UTC).date()
        with self._mutex:
            if self._known is None or self._known[0] != day:
                self._known = (day, self._recipient(day))
            return (self._known[1], *self._offline)

    def _recipient(self, day: date) -> str:
        folder = _folder(self._folder, day)
        context = slots.slot_context(self._repository, folder)
        found = self._first_slot(folder)
        if found is None:
            identity, _recipient = slots.create_identity()
            wrapped = self._key_service.wrap(identity.encode("ascii"), context=context)
            slot = slots.new_slot(0, identity, wrapped, context, self._sign)
            try:
                slots.store_slot(self._store, folder, slot)
            except ConflictError as error:
                if error.code != "object_exists":
                    raise
            found = self._first_slot(folder)  # ours, or the winner's
        if found is None:
            raise RemoteError("slot_missing", f"{folder} was written and is not there")
        try:
            signature = base64.b64decode(found.signature, validate=True)
        except ValueError:
            signature = b""
        self._verify(found.signed_bytes(context), signature)
        return found.recipient

    def _first_slot(self, folder: str) -> slots.Slot | None:
        key = slots.slot_key(folder, 0)
        try:
            return slots.parse_slot(0, key, self._store.read(key))
        except RefusedError as error:
            if error.code != "object_missing":
                raise
            return None


class WalIdentities:
    """Opens sealed WAL. Unwrapped identities are kept in memory only. For one thread."""

    def __init__(
        self,
        store: ObjectStore,
        folder: str,
        *,
        repository: str,
        key_services: Sequence[KeyService],
    ) -> None:
        self._store = store
        self._folder = folder
        self._repository = repository
        self._key_services = tuple(key_services)
        self._identities: dict[date, str] = {}
        self._last: date | None = None

    def days(self) -> list[date]:
        """The days that have an identity, in order."""
        return wal_key_days(self._store, self._folder)

    def open(self, sealed: bytes, unseal: Unseal, *, near: date | None = None) -> bytes:
        """The plain bytes of a chunk; ``near`` is a guess at its day for the first one.

        ``RemoteError('seal_broken')`` when no identity opens it: it is damaged, or its day's key
        is gone. A day whose slots do not open is passed over, and raised only when no other day
        opens the chunk. A key service that cannot be asked is raised at once.
        """
        closed: AeternaError | None = None
        for day in self._order(near):
            try:
                plain = unseal(sealed, self._identity(day))
            except (RemoteError, RefusedError) as error:
                if error.code != "seal_broken":
                    closed = error
                continue
            self._last = day
            return plain
        if closed is not None:
            raise closed
        raise RemoteError(
            "seal_broken",
            f"none of the identities below {self._folder} opens this WAL",
            hint="it is damaged, or the identity of its day was deleted",
        )

    def _order(self, near: date | None) -> Iterator[date]:
        """The last day that worked, then all by their distance to it (or to ``near``).

        The days are listed only when the last one does not do.
        """
        if self._last is not None:
            yield self._last
        middle = self._last or near or date.max
        others = (day for day in self.days() if day != self._last)
        yield from sorted(others, key=lambda day: abs(day - middle))

    def _identity(self, day: date) -> str:
        if day not in self._identities:
            folder = _folder(self._folder, day)
            context = slots.slot_context(self._repository, folder)
            self._identities[day] = slots.open_identity(
                self._store, folder, self._key_services, context
            )
        return self._identities[day]


def wal_key_days(store: ObjectStore, folder: str) -> list[date]:
    """The days that have an identity below ``folder``, in order; other names are ignored."""
    days = (_day(name) for name in store.list_folders(f"{folder}/"))
    return sorted(day for day in days if day is not None)


def _day(name: str) -> date | None:
    """The day of a folder's name, None for what nobody of us wrote."""
    try:
        day = date.fromisoformat(name)
    except ValueError:
        return None
    return day if day.isoformat() == name else None


def _folder(folder: str, day: date) -> str:
    return f"{folder}/{day.isoformat()}"
