"""The key slots of one backup, each for itself, and whether what is at hand opens the backup."""

import base64
import re
from typing import TYPE_CHECKING

from aeterna_cli.errors import (
    AeternaError,
    AuthenticationError,
    RefusedError,
    RemoteError,
    TransientError,
)
from aeterna_cli.keys import slots
from aeterna_cli.repository import layout
from aeterna_cli.stores.base.findings import Finding
from aeterna_cli.stores.base.objects import ObjectStore

if TYPE_CHECKING:
    from aeterna_cli.workflows.restore.opened import OpenedBackup

_BLOCK = 1 << 20
_SLOT = re.compile(r"slots/([0-9]{1,6})\.json\Z")
_GAPS = 16  # missing slots that are named; somebody may have put a slot 999999 there
MEND = "restore this object from a copy of the repository, or use another backup"
UNREADABLE = "object_unreadable"
#: The person typed the wrong file: nothing about the backup.
_BAD_FILE = frozenset({"identity_file_unreadable", "identity_file_invalid"})


class KeyCheck:
    """Looks at every slot. ``offline``: an identity file was given, and no key service is asked."""

    def __init__(self, opened: "OpenedBackup", store: ObjectStore, *, offline: bool) -> None:
        self._opened = opened
        self._store = store
        self._offline = offline
        self._folder = layout.backup_folder(opened.id)
        repository = opened.place.repository
        self._context = slots.slot_context(repository.info.uuid, self._folder)
        self.count = 0
        self.identity: str | None = None
        self._unasked: AeternaError | None = None

    def run(self) -> list[Finding]:
        """What is wrong with the slots, and why nothing can be opened. Afterwards ``identity`` is
        what opens the backup (None where nothing does) and ``count`` says how many slots are there.

        ``RefusedError``: ``identity_file_unreadable``, ``identity_file_invalid``.
        """
        present = {
            item.key: number
            for item in self._store.list(f"{self._folder}/slots/")
            if (number := slot_number(self._folder, item.key)) is not None
        }
        self.count = len(present)
        last = min(max(present.values(), default=0), self.count + _GAPS)
        gaps = {*range(last + 1)} - {*present.values()}  # append-only: none is ever skipped
        wanted = present | {slots.slot_key(self._folder, number): number for number in gaps}
        found = []
        for key, number in sorted(wanted.items(), key=lambda one: one[1]):
            found += self._slot(number, key)
        whole = all(one.severity != "error" for one in found)
        return found + self._unwrap("warning" if whole else "error")

    def _slot(self, number: int, key: str) -> list[Finding]:
        """Whole, signed by this deployment, and (with a key service) opening."""
        try:
            slot = slots.parse_slot(number, key, self._store.read(key))
        except RefusedError as error:
            if error.code == "object_missing":
                message = f"{key} is missing from the repository"
                return [Finding("object_missing", "error", key, message, MEND)]
            if error.code != "slot_too_new":
                raise
            return [Finding(error.code, "warning", key, error.message, "upgrade aeterna-cli")]
        except RemoteError as error:
            if error.code == "slot_damaged":
                return [Finding(error.code, "error", key, error.message, MEND)]
            return [unreadable(error, key)]
        try:
            self._opened.place.repository.verify(
                slot.signed_bytes(self._context), _decoded(slot.signature)
            )
        except RemoteError:
            message = f"{key} is not as this deployment signed it: changed, or written by another"
            return [Finding("slot_foreign", "error", key, message, MEND)]
        return [] if self._offline or self._unasked else self._opens(slot, key)

    def _opens(self, slot: slots.Slot, key: str) -> list[Finding]:
        try:
            secret = self._opened.place.key_service.unwrap(slot.wrapped, context=self._context)
            if slots.recipient_of(secret.decode("ascii", "replace")) == slot.recipient:
                return []
        except (TransientError, AuthenticationError) as error:
            self._unasked = error  # told once, for all slots
            return []
        except (RemoteError, RefusedError) as error:
            message = f"{key} does not open: {error.message}"
            return [Finding("slot_closed", "warning", key, message, error.hint)]
        return [Finding("slot_closed", "error", key, f"{key} holds another identity", MEND)]

    def _unwrap(self, severity: str) -> list[Finding]:
        """``severity`` is what it means when no slot opens: whole slots are not damaged because
        nobody here has their key."""
        if self._unasked is not None:
            return [self._not_opened(self._unasked, "warning")]
        try:
            self.identity = self._opened.identity
        except (TransientError, AuthenticationError) as error:
            return [self._not_opened(error, "warning")]
        except (RemoteError, RefusedError) as error:
            if error.code in _BAD_FILE:
                raise
            return [self._not_opened(error, severity)]
        return self._belongs(self.identity) if self._offline else []

    def _belongs(self, identity: str) -> list[Finding]:
        """A file with another identity is told once, and not as damage of every volume.

        Asked of the smallest volume that is whole; where none is, nobody can tell.
        """
        from aeterna_cli.repository.opening import open_volume

        volumes = self._opened.manifest.volumes()
        for record in sorted(volumes, key=lambda one: one.stored_bytes):
            try:
                with open_volume(self._store, record, identity) as stream:
                    while stream.read(_BLOCK):
                        pass
            except RefusedError as error:
                if error.code != "identity_refused":
                    raise
                self.identity = None
                return [self._not_opened(error, "warning")]
            except RemoteError as error:
                if "key" not in error.details:
                    raise
                continue
            break
        return []

    def _not_opened(self, error: AeternaError, severity: str) -> Finding:
        message = f"not opened: {error.message}; the stored bytes were hashed all the same"
        mend = "run this where backups may be decrypted, or with the --identity-file of a recipient"
        details = {"cause": error.code, **({"hint": error.hint} if error.hint else {})}
        return Finding("not_opened", severity, self._folder, message, mend, details)


def unreadable(error: RemoteError, key: str) -> Finding:
    """An object that the disk does not give; any other fault of the repository is raised."""
    if error.code != UNREADABLE:
        raise error
    return Finding(error.code, "error", key, error.message, MEND)


def slot_number(folder: str, key: str) -> int | None:
    """The number of what ``slots.read_slots`` takes for a slot of ``folder``, else None."""
    match = _SLOT.match(key.removeprefix(f"{folder}/"))
    return int(match[1]) if match else None


def _decoded(signature: str) -> bytes:
    try:
        return base64.b64decode(signature, validate=True)
    except ValueError:
        return b""
