"""Key slots: an age identity, wrapped by a key service, beside the data that it opens.

``<folder>/slots/<n>.json`` are append-only: rotating a key adds a slot and touches no data. The
identity is bound to its place by a context that the key service authenticates, so a slot that is
copied elsewhere does not open. The recipient in a slot is public; who wants to seal for a recipient
found in a repository must check the slot's signature first (``wal_identity``).
"""

import base64
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aeterna_cli.errors import (
    AeternaError,
    AuthenticationError,
    ConflictError,
    RefusedError,
    RemoteError,
    TransientError,
)
from aeterna_cli.stores.base.keys import KeyService, WrappedKey
from aeterna_cli.stores.base.objects import ObjectStore

_SCHEMA = "aeterna.key-slot/1"
_KEY = re.compile(r"slots/([0-9]{1,6})\.json\Z")
_TEXTS = ("recipient", "provider", "key_id", "key_version", "ciphertext")
_LARGEST_RACE = 64
_LARGEST_IDENTITY_FILE = 65536  # bytes


@dataclass(frozen=True)
class Slot:
    """One wrapped identity. ``signature`` is base64 over ``signed_bytes``, empty without one."""

    number: int
    recipient: str
    provider: str
    key_id: str
    key_version: str
    ciphertext: str
    signature: str = ""

    @property
    def wrapped(self) -> WrappedKey:
        return WrappedKey(self.provider, self.key_id, self.key_version, self.ciphertext)

    def signed_bytes(self, context: bytes) -> bytes:
        """What a signature covers: the slot and the place that it belongs to."""
        unsigned = {name: getattr(self, name) for name in _TEXTS}
        return _canonical({"slot": unsigned, "context": context.decode("utf-8")})


def slot_context(repository: str, folder: str) -> bytes:
    """What a slot is bound to: the repository's uuid and the folder (a backup's, or a WAL day's).

    Canonical JSON, so that another tool can write the same bytes.
    """
    return _canonical({"schema": _SCHEMA, "repository": repository, "folder": folder})


def create_identity() -> tuple[str, str]:
    """A new age identity: the secret (``AGE-SECRET-KEY-1...``) and its recipient (``age1...``)."""
    import pyrage

    identity = pyrage.x25519.Identity.generate()
    return str(identity), str(identity.to_public())


def recipient_of(identity: str) -> str:
    """The public half; ``RefusedError('identity_invalid')`` for a text that is no identity."""
    import pyrage

    try:
        return str(pyrage.x25519.Identity.from_str(identity).to_public())
    except pyrage.IdentityError:
        raise RefusedError("identity_invalid", "this is not an age identity") from None


def slot_key(folder: str, number: int) -> str:
    return f"{folder}/slots/{number}.json"


def write_slot(
    store: ObjectStore,
    folder: str,
    key_service: KeyService,
    identity: str,
    context: bytes,
    *,
    sign: Callable[[bytes], bytes] | None = None,
) -> Slot:
    """Append a slot with ``identity`` wrapped by ``key_service``; durable when this returns.

    ``ConflictError('slots_contended')`` where others keep taking the number; what the key service
    and the store raise.
    """
    wrapped = key_service.wrap(identity.encode("ascii"), context=context)
    taken = [slot.number for slot in read_slots(store, folder)]
    number = max(taken, default=-1) + 1
    for _attempt in range(_LARGEST_RACE):
        slot = new_slot(number, identity, wrapped, context, sign)
        try:
            store_slot(store, folder, slot)
        except ConflictError as error:
            if error.code != "object_exists":
                raise
            number += 1
            continue
        return slot
    raise ConflictError("slots_contended", f"others keep adding key slots to {folder}")


def new_slot(
    number: int,
    identity: str,
    wrapped: WrappedKey,
    context: bytes,
    sign: Callable[[bytes], bytes] | None = None,
) -> Slot:
    """A slot in memory, signed where ``sign`` is given."""
    slot = Slot(number, recipient_of(identity), **asdict(wrapped))
    if sign is None:
        return slot
    signature = base64.b64encode(sign(slot.signed_bytes(context))).decode("ascii")
    return Slot(number, slot.recipient, **asdict(wrapped), signature=signature)


def store_slot(store: ObjectStore, folder: str, slot: Slot) -> None:
    """``ConflictError('object_exists')`` where the number is taken."""
    document = {"schema": _SCHEMA, **asdict(slot)}
    del document["number"]  # it is the name
    store.create(slot_key(folder, slot.number), _canonical(document))


def read_slots(store: ObjectStore, folder: str) -> list[Slot]:
    """All slots in order of their number; ``RemoteError('slot_damaged')`` names one that is none.

    Other objects below ``slots/`` are ignored.
    """
    slots, faults = _readable(store, folder)
    if faults:
        raise faults[0]
    return slots


def _readable(store: ObjectStore, folder: str) -> tuple[list[Slot], list[AeternaError]]:
    """The slots in order of their number, and why the others are none."""
    slots: list[Slot] = []
    faults: list[AeternaError] = []
    for item in store.list(f"{folder}/slots/"):
        match = _KEY.match(item.key.removeprefix(f"{folder}/"))
        if match is None:
            continue
        data = store.read(item.key)
        try:
            slots.append(parse_slot(int(match.group(1)), item.key, data))
        except (RemoteError, RefusedError) as error:
            faults.append(error)
    return sorted(slots, key=lambda slot: slot.number), faults


def parse_slot(number: int, key: str, data: bytes) -> Slot:
    """A slot from its stored bytes."""
    try:
        document = json.loads(data)
        texts = {name: document[name] for name in (*_TEXTS, "signature")}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(key) from error
    if not all(isinstance(text, str) for text in texts.values()):
        raise _damaged(key)
    if document.get("schema") != _SCHEMA:
        raise RefusedError(
            "slot_too_new", f"{key} is of a newer format", next_steps=["upgrade aeterna-cli"]
        )
    return Slot(number, **texts)


def open_identity(
    store: ObjectStore, folder: str, key_services: Sequence[KeyService], context: bytes
) -> str:
    """The identity of ``folder``: every slot is tried with every key service, newest slot first.

    A damaged slot is passed over; where no other opens, it is what is raised. ``RefusedError``:
    ``slots_missing``; ``no_slot_opens`` with what each of them answered. A key service that could
    not be asked (unreachable, refused credentials) is reported as that when no other slot opened.
    """
    slots, faults = _readable(store, folder)
    if not slots and not faults:
        raise RefusedError(
            "slots_missing",
            f"{folder} has no key slot",
            hint="an offline identity may still open it",
            next_steps=["--identity-file FILE"],
        )
    unasked: AeternaError | None = None
    answers: list[str] = []
    for slot in reversed(slots):
        for service in key_services:
            try:
                return _opened(slot, service, context)
            except (TransientError, AuthenticationError) as error:
                unasked = error
            except (RefusedError, RemoteError) as error:
                answers.append(f"slot {slot.number}, {service.description}: {error.message}")
    if unasked is not None:
        raise unasked
    if faults:
        raise faults[0]
    raise RefusedError(
        "no_slot_opens",
        f"no key service at hand opens a key slot of {folder}",
        hint=answers[0] if answers else "no key service is configured",
        next_steps=["check keys in the profile, or --identity-file FILE"],
        details={"answers": answers},
    )


def offline_identity(path: Path) -> str:
    """The one identity in a file as ``age-keygen`` writes it.

    ``RefusedError``: ``identity_file_unreadable``, ``identity_file_invalid``. Its content is never
    repeated.
    """
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(_LARGEST_IDENTITY_FILE)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise RefusedError(
            "identity_file_unreadable", f"cannot read the identity file {path}: {why}"
        ) from None
    lines = [line.strip() for line in text.splitlines()]
    identities = [line for line in lines if line and not line.startswith("#")]
    try:
        (identity,) = identities
        recipient_of(identity)
    except (ValueError, RefusedError):
        raise RefusedError(
            "identity_file_invalid",
            f"{path} does not hold exactly one age identity",
            hint="a line that begins with AGE-SECRET-KEY-1, as age-keygen writes it",
        ) from None
    return identity


def _opened(slot: Slot, service: KeyService, context: bytes) -> str:
    identity = service.unwrap(slot.wrapped, context=context).decode("ascii", "replace")
    if recipient_of(identity) != slot.recipient:
        raise RemoteError("slot_damaged", f"slot {slot.number} is about another recipient")
    return identity


def _canonical(document: dict[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode("ascii")


def _damaged(key: str) -> RemoteError:
    return RemoteError("slot_damaged", f"{key} is not a key slot", details={"key": key})
