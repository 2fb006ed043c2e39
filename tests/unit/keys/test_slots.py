"""Key slots: an identity opens in its own place only, with any of its keys."""

import json
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from aeterna_cli.errors import (
    AeternaError,
    ConflictError,
    RefusedError,
    TransientError,
)
from aeterna_cli.keys import slots
from aeterna_cli.stores.base.findings import Finding
from aeterna_cli.stores.base.keys import KeyService, WrappedKey
from aeterna_cli.stores.base.objects import ObjectInfo
from aeterna_cli.stores.directory_store import DirectoryStore
from aeterna_cli.stores.local_key import LocalFileKeyService

FOLDER = "backups/20261123T030000Z-0a1b2c"
OTHER = "backups/20261124T030000Z-0a1b2c"
UUID = "0b4b6f5e-0000-4000-8000-000000000000"
CONTEXT = slots.slot_context(UUID, FOLDER)


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    found = DirectoryStore(tmp_path / "repository")
    found.ensure()
    return found


def service(folder: Path, name: str = "key") -> LocalFileKeyService:
    found = LocalFileKeyService(folder / name)
    found.ensure_key()
    return found


class Unreachable:
    """A key service that nobody answers for."""

    description = "a key service far away"

    def wrap(self, secret: bytes, *, context: bytes) -> WrappedKey:
        raise TransientError("vault_unreachable", "nobody answers")

    def unwrap(self, wrapped: WrappedKey, *, context: bytes) -> bytes:
        raise TransientError("vault_unreachable", "nobody answers")

    def ensure_key(self) -> None: ...

    def probe(self) -> Sequence[Finding]:
        return []


def refusal(store: DirectoryStore, *services: Any, context: bytes = CONTEXT) -> AeternaError:
    with pytest.raises(AeternaError) as caught:
        slots.open_identity(store, FOLDER, services, context)
    return caught.value


def rewritten(store: DirectoryStore, number: int, **changes: Any) -> None:
    path = Path(store.description, slots.slot_key(FOLDER, number))
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **changes}), encoding="utf-8")


def test_an_identity_and_its_recipient_belong_together() -> None:
    identity, recipient = slots.create_identity()
    assert identity.startswith("AGE-SECRET-KEY-1")
    assert slots.recipient_of(identity) == recipient
    assert recipient.startswith("age1")
    with pytest.raises(RefusedError) as caught:
        slots.recipient_of("AGE-SECRET-KEY-1NONSENSE")
    assert caught.value.code == "identity_invalid"
    assert "NONSENSE" not in str(caught.value.as_document())


def test_what_was_wrapped_is_opened(store: DirectoryStore, tmp_path: Path) -> None:
    identity, recipient = slots.create_identity()
    slot = slots.write_slot(store, FOLDER, service(tmp_path), identity, CONTEXT)
    assert (slot.number, slot.recipient, slot.provider) == (0, recipient, "local-file")
    assert slots.read_slots(store, FOLDER) == [slot]
    assert slots.open_identity(store, FOLDER, [service(tmp_path)], CONTEXT) == identity
    assert identity.encode() not in store.read(slots.slot_key(FOLDER, 0))


def test_rotation_adds_a_slot_and_both_keys_open(store: DirectoryStore, tmp_path: Path) -> None:
    identity, _recipient = slots.create_identity()
    old, new = service(tmp_path, "old"), service(tmp_path, "new")
    slots.write_slot(store, FOLDER, old, identity, CONTEXT)
    slots.write_slot(store, FOLDER, new, identity, CONTEXT)
    tries: list[list[KeyService]] = [[old], [new], [Unreachable(), new], [new, Unreachable()]]
    for services in tries:
        assert slots.open_identity(store, FOLDER, services, CONTEXT) == identity


def test_slots_are_read_in_the_order_of_their_number(store: DirectoryStore, tmp_path: Path) -> None:
    identity, _recipient = slots.create_identity()
    key = service(tmp_path)
    for _ in range(11):
        slots.write_slot(store, FOLDER, key, identity, CONTEXT)
    store.create(f"{FOLDER}/slots/readme.txt", b"not a slot")
    assert [slot.number for slot in slots.read_slots(store, FOLDER)] == list(range(11))


def test_a_slot_opens_in_its_own_place_only(store: DirectoryStore, tmp_path: Path) -> None:
    identity, _recipient = slots.create_identity()
    key = service(tmp_path)
    slots.write_slot(store, OTHER, key, identity, slots.slot_context(UUID, OTHER))
    store.create(slots.slot_key(FOLDER, 0), store.read(slots.slot_key(OTHER, 0)))
    error = refusal(store, key)
    assert error.code == "no_slot_opens"
    assert slots.slot_context(UUID, OTHER) != CONTEXT != slots.slot_context("another", FOLDER)


def test_without_a_slot_or_a_fitting_key_nothing_opens(
    store: DirectoryStore, tmp_path: Path
) -> None:
    assert refusal(store, service(tmp_path)).code == "slots_missing"
    identity, _recipient = slots.create_identity()
    slots.write_slot(store, FOLDER, service(tmp_path), identity, CONTEXT)
    error = refusal(store, service(tmp_path, "other"))
    assert error.code == "no_slot_opens"
    assert len(error.details["answers"]) == 1
    assert "slot 0" in error.hint
    assert refusal(store).hint == "no key service is configured"
    assert refusal(store, service(tmp_path), context=b"{}").code == "no_slot_opens"
    unreachable = refusal(store, service(tmp_path, "other"), Unreachable())
    assert unreachable.code == "vault_unreachable"
    assert identity not in str(error.as_document())


def test_a_slot_about_somebody_else_is_passed_over(store: DirectoryStore, tmp_path: Path) -> None:
    identity, _recipient = slots.create_identity()
    key = service(tmp_path)
    slots.write_slot(store, FOLDER, key, identity, CONTEXT)
    slots.write_slot(store, FOLDER, key, identity, CONTEXT)
    rewritten(store, 1, recipient=slots.create_identity()[1])
    assert slots.open_identity(store, FOLDER, [key], CONTEXT) == identity
    rewritten(store, 0, recipient="age1x")
    assert refusal(store, key).code == "no_slot_opens"


def test_a_damaged_slot_does_not_close_the_others(store: DirectoryStore, tmp_path: Path) -> None:
    identity, _ = slots.create_identity()
    slots.write_slot(store, FOLDER, service(tmp_path), identity, CONTEXT)
    store.create(slots.slot_key(FOLDER, 1), b"{")
    assert slots.open_identity(store, FOLDER, [service(tmp_path)], CONTEXT) == identity
    assert refusal(store, service(tmp_path, "other")).code == "slot_damaged"


def test_a_wrapped_secret_that_is_no_identity_is_refused(
    store: DirectoryStore, tmp_path: Path
) -> None:
    identity, _recipient = slots.create_identity()
    key = service(tmp_path)
    slots.write_slot(store, FOLDER, key, identity, CONTEXT)
    rewritten(store, 0, ciphertext=key.wrap(b"\xff hush", context=CONTEXT).ciphertext)
    error = refusal(store, key)
    assert error.code == "no_slot_opens"
    assert "hush" not in str(error.as_document())


@pytest.mark.parametrize("content", [b"", b"[]", b"7", b"{}", b"[" * 100_000])
def test_what_is_no_slot_is_named(store: DirectoryStore, tmp_path: Path, content: bytes) -> None:
    store.create(slots.slot_key(FOLDER, 3), content)
    error = refusal(store, service(tmp_path))
    assert (error.code, error.details) == ("slot_damaged", {"key": slots.slot_key(FOLDER, 3)})


def test_a_slot_of_another_shape_is_refused(store: DirectoryStore, tmp_path: Path) -> None:
    identity, _recipient = slots.create_identity()
    slots.write_slot(store, FOLDER, service(tmp_path), identity, CONTEXT)
    rewritten(store, 0, key_version=7)
    assert refusal(store, service(tmp_path)).code == "slot_damaged"
    rewritten(store, 0, key_version="7", schema="aeterna.key-slot/2")
    assert refusal(store, service(tmp_path)).code == "slot_too_new"


def test_of_racing_writers_nobody_overwrites(store: DirectoryStore, tmp_path: Path) -> None:
    identity, _recipient = slots.create_identity()
    key, together = service(tmp_path), threading.Barrier(6)

    def race(_number: int) -> int:
        together.wait()
        return slots.write_slot(store, FOLDER, key, identity, CONTEXT).number

    with ThreadPoolExecutor(6) as racers:
        assert sorted(racers.map(race, range(6))) == list(range(6))


def test_conflicts_end(store: DirectoryStore, tmp_path: Path) -> None:
    class Contended(DirectoryStore):
        code = "object_exists"

        def create(self, key: str, data: bytes) -> ObjectInfo:
            raise ConflictError(self.code, f"{key} is not for you")

    identity, _recipient = slots.create_identity()
    busy = Contended(Path(store.description))
    for code, expected in (("object_exists", "slots_contended"), ("locked", "locked")):
        busy.code = code
        with pytest.raises(ConflictError) as caught:
            slots.write_slot(busy, FOLDER, service(tmp_path), identity, CONTEXT)
        assert caught.value.code == expected


def test_a_signature_covers_the_slot_and_its_place(store: DirectoryStore, tmp_path: Path) -> None:
    identity, _recipient = slots.create_identity()
    signed: list[bytes] = []

    def sign(data: bytes) -> bytes:
        signed.append(data)
        return b"signature"

    slot = slots.write_slot(store, FOLDER, service(tmp_path), identity, CONTEXT, sign=sign)
    assert signed == [slot.signed_bytes(CONTEXT)]
    assert slot.signature == "c2lnbmF0dXJl"
    assert slots.read_slots(store, FOLDER) == [slot]
    assert slot.signed_bytes(b"{}") != signed[0]
    for name in ("recipient", "ciphertext", "key_id"):
        assert slots.Slot(**{**vars(slot), name: "x"}).signed_bytes(CONTEXT) != signed[0]


class TestOfflineIdentity:
    def test_a_file_of_age_keygen(self, tmp_path: Path) -> None:
        identity, recipient = slots.create_identity()
        path = tmp_path / "offline.key"
        path.write_text(f"# created: today\n# public key: {recipient}\n{identity}\n", "utf-8")
        assert slots.offline_identity(path) == identity

    @pytest.mark.parametrize("text", ["", "# nothing\n", "AGE-SECRET-KEY-1SECRET\n", "two", "a\nb"])
    def test_another_file_is_refused_without_repeating_it(self, tmp_path: Path, text: str) -> None:
        path = tmp_path / "offline.key"
        path.write_text(text, "utf-8")
        with pytest.raises(RefusedError) as caught:
            slots.offline_identity(path)
        assert caught.value.code == "identity_file_invalid"
        assert "1SECRET" not in str(caught.value.as_document())
        assert caught.value.__suppress_context__

    def test_two_identities_are_one_too_many(self, tmp_path: Path) -> None:
        path = tmp_path / "offline.key"
        path.write_text("\n".join(slots.create_identity()[0] for _ in range(2)), "utf-8")
        with pytest.raises(RefusedError) as caught:
            slots.offline_identity(path)
        assert caught.value.code == "identity_file_invalid"

    def test_an_unreadable_file_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
        for path in (tmp_path / "nowhere", tmp_path, tmp_path / "binary"):
            with pytest.raises(RefusedError) as caught:
                slots.offline_identity(path)
            assert caught.value.code == "identity_file_unreadable"
            assert str(path) in caught.value.message
