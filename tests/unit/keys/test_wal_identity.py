"""WAL identities: one a day, stored before anything is sealed for it, believed only when signed."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import pytest

from aeterna_cli.errors import (
    AeternaError,
    ConflictError,
    RefusedError,
    RemoteError,
    TransientError,
)
from aeterna_cli.keys import slots
from aeterna_cli.keys.wal_identity import WalIdentities, WalRecipients, wal_key_days
from aeterna_cli.repository.blobs import seal, unseal
from aeterna_cli.repository.layout import WAL_KEYS
from aeterna_cli.repository.signing import SigningKey, verify
from aeterna_cli.stores.base.keys import WrappedKey
from aeterna_cli.stores.base.objects import ObjectInfo
from aeterna_cli.stores.directory_store import DirectoryStore
from aeterna_cli.stores.local_key import LocalFileKeyService

UUID = "0b4b6f5e-0000-4000-8000-000000000000"
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
DAY = timedelta(days=1)


class Counting(LocalFileKeyService):
    """A real key service that counts; with ``blind`` it may wrap only, as a backup host's token."""

    unwrapped = 0
    blind = False

    def unwrap(self, wrapped: WrappedKey, *, context: bytes) -> bytes:
        if self.blind:
            raise TransientError("vault_unreachable", "nobody answers")
        self.unwrapped += 1
        return super().unwrap(wrapped, context=context)


class House:
    """One deployment's store, key service and signing key."""

    def __init__(self, folder: Path) -> None:
        self.store = DirectoryStore(folder / "repository")
        self.store.ensure()
        self.keys = Counting(folder / "key")
        self.keys.ensure_key()
        self.signing = SigningKey.generate()

    def recipients(
        self, store: DirectoryStore | None = None, signing: SigningKey | None = None
    ) -> WalRecipients:
        return WalRecipients(
            store or self.store,
            WAL_KEYS,
            repository=UUID,
            key_service=self.keys,
            sign=(signing or self.signing).sign,
            verify=lambda data, signature: verify(self.signing.public, data, signature),
        )

    def identities(self) -> WalIdentities:
        return WalIdentities(self.store, WAL_KEYS, repository=UUID, key_services=[self.keys])

    def sealed(self, text: bytes, moment: datetime) -> bytes:
        return seal(text, self.recipients().current(moment))


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_one_identity_a_day_in_utc(house: House) -> None:
    recipients = house.recipients()
    today = recipients.current(NOON)
    assert recipients.current(NOON + timedelta(hours=11, minutes=59)) == today
    assert house.recipients().current(NOON) == today
    assert recipients.current(NOON + DAY / 2) != today
    late = datetime(2026, 11, 24, 1, tzinfo=timezone(timedelta(hours=5)))
    assert recipients.current(late) == today
    assert wal_key_days(house.store, WAL_KEYS) == [date(2026, 11, 23), date(2026, 11, 24)]


def test_the_identity_is_stored_before_it_is_handed_out(house: House) -> None:
    class Full(DirectoryStore):
        def create(self, key: str, data: bytes) -> ObjectInfo:
            raise RemoteError("disk_full", "no space left")

    recipients = house.recipients(Full(Path(house.store.description)))
    with pytest.raises(RemoteError) as caught:
        recipients.current(NOON)
    assert caught.value.code == "disk_full"
    (recipient,) = house.recipients().current(NOON)
    (slot,) = slots.read_slots(house.store, f"{WAL_KEYS}/2026-11-23")
    assert slot.recipient == recipient


def test_sealing_needs_no_right_to_open(house: House) -> None:
    house.keys.blind = True
    assert house.recipients().current(NOON) == house.recipients().current(NOON)


def test_offline_recipients_open_it_too(house: House) -> None:
    identity, offline = slots.create_identity()
    recipients = WalRecipients(
        house.store,
        WAL_KEYS,
        repository=UUID,
        key_service=house.keys,
        sign=house.signing.sign,
        verify=lambda _data, _signature: None,
        offline=[offline],
    ).current(NOON)
    assert recipients[1:] == (offline,)
    assert unseal(seal(b"wal", recipients), identity) == b"wal"


def test_of_racing_receivers_all_use_the_winners(house: House) -> None:
    together = threading.Barrier(6)

    def race(_number: int) -> tuple[str, ...]:
        recipients = house.recipients()
        together.wait()
        return recipients.current(NOON)

    with ThreadPoolExecutor(6) as racers:
        found = set(racers.map(race, range(6)))
    assert len(found) == 1
    assert len(slots.read_slots(house.store, f"{WAL_KEYS}/2026-11-23")) == 1


def test_nothing_is_sealed_for_a_recipient_that_somebody_planted(house: House) -> None:
    stranger = SigningKey.generate()
    house.recipients(signing=stranger)  # somebody who may write to the store, but not sign
    with pytest.raises(RemoteError):
        house.recipients(signing=stranger).current(NOON)
    with pytest.raises(RemoteError) as caught:
        house.recipients().current(NOON)
    assert caught.value.code == "signature_invalid"


@pytest.mark.parametrize("signature", ["", "not base64!", "ä"])
def test_a_slot_without_a_signature_is_not_believed(house: House, signature: str) -> None:
    house.recipients().current(NOON)
    path = Path(house.store.description, WAL_KEYS, "2026-11-23", "slots", "0.json")
    (slot,) = slots.read_slots(house.store, f"{WAL_KEYS}/2026-11-23")
    path.write_bytes(path.read_bytes().replace(slot.signature.encode(), signature.encode()))
    with pytest.raises(RemoteError) as caught:
        house.recipients().current(NOON)
    assert caught.value.code == "signature_invalid"


def test_yesterdays_slot_is_not_todays(house: House) -> None:
    house.recipients().current(NOON)
    content = house.store.read(f"{WAL_KEYS}/2026-11-23/slots/0.json")
    house.store.create(f"{WAL_KEYS}/2026-11-24/slots/0.json", content)
    with pytest.raises(RemoteError) as caught:
        house.recipients().current(NOON + DAY)
    assert caught.value.code == "signature_invalid"


def test_chunks_of_many_days_open_and_each_day_is_unwrapped_once(house: House) -> None:
    chunks = [
        (b"%d-%d" % (day, number), house.sealed(b"%d-%d" % (day, number), NOON + day * DAY))
        for day in range(4)
        for number in range(3)
    ]
    identities = house.identities()
    for plain, sealed in chunks:
        assert identities.open(sealed, unseal, near=NOON.date()) == plain
    assert house.keys.unwrapped == 4
    for plain, sealed in reversed(chunks):
        assert identities.open(sealed, unseal) == plain
    assert house.keys.unwrapped == 4


def test_wal_in_order_opens_at_the_first_try(house: House) -> None:
    tries: list[str] = []

    def counted(sealed: bytes, identity: str) -> bytes:
        tries.append(identity)
        return unseal(sealed, identity)

    chunks = [house.sealed(b"x", NOON + day * DAY) for day in (0, 1, 1, 1, 2, 3)]
    identities = house.identities()
    for chunk in chunks:
        identities.open(chunk, counted, near=NOON.date())
    assert len(tries) <= len(chunks) + 2 * 3  # a new day costs the last one and a neighbour


def test_a_guess_saves_unwrapping_and_a_wrong_one_costs_nothing_else(house: House) -> None:
    sealed = [house.sealed(b"x", NOON + day * DAY) for day in range(5)]
    assert house.identities().open(sealed[2], unseal, near=(NOON + 2 * DAY).date()) == b"x"
    assert house.keys.unwrapped == 1
    assert house.identities().open(sealed[0], unseal) == b"x"  # the newest first: five
    assert house.keys.unwrapped == 6


def test_a_rotated_key_opens_old_wal(house: House, tmp_path: Path) -> None:
    sealed = house.sealed(b"wal", NOON)
    folder = f"{WAL_KEYS}/2026-11-23"
    context = slots.slot_context(UUID, folder)
    identity = slots.open_identity(house.store, folder, [house.keys], context)
    fresh = Counting(tmp_path / "fresh")
    fresh.ensure_key()
    slots.write_slot(house.store, folder, fresh, identity, context)
    opened = WalIdentities(house.store, WAL_KEYS, repository=UUID, key_services=[fresh])
    assert opened.open(sealed, unseal) == b"wal"
    assert house.recipients().current(NOON) == (slots.recipient_of(identity),)


def refusal(identities: WalIdentities, sealed: bytes) -> AeternaError:
    with pytest.raises(AeternaError) as caught:
        identities.open(sealed, unseal)
    return caught.value


def test_what_no_identity_opens_is_an_error(house: House) -> None:
    sealed = house.sealed(b"wal", NOON)
    assert refusal(house.identities(), sealed[:-1]).code == "seal_broken"
    stranger = seal(b"wal", [slots.create_identity()[1]])
    assert refusal(house.identities(), stranger).code == "seal_broken"
    empty = WalIdentities(house.store, "nothing", repository=UUID, key_services=[house.keys])
    assert refusal(empty, sealed).code == "seal_broken"


def test_a_day_whose_key_is_gone_does_not_hide_the_others(house: House) -> None:
    old, new = house.sealed(b"old", NOON), house.sealed(b"new", NOON + DAY)
    house.store.delete([f"{WAL_KEYS}/2026-11-23/slots/0.json"])
    house.store.create(f"{WAL_KEYS}/2026-11-23/readme.txt", b"x")
    identities = house.identities()
    assert identities.open(new, unseal, near=NOON.date()) == b"new"
    assert refusal(identities, old).code == "slots_missing"


def test_an_unreachable_key_service_is_told_at_once(house: House) -> None:
    sealed = house.sealed(b"wal", NOON)
    house.keys.blind = True
    assert refusal(house.identities(), sealed).code == "vault_unreachable"


def test_folders_that_are_no_days_are_ignored(house: House) -> None:
    house.recipients().current(NOON)
    for name in ("20261123", "notes", "2026-13-01"):
        house.store.create(f"{WAL_KEYS}/{name}/x", b"x")
    assert house.identities().days() == [NOON.date()]


def test_faults_of_the_store_pass_through(house: House) -> None:
    class Odd(DirectoryStore):
        def create(self, key: str, data: bytes) -> ObjectInfo:
            raise ConflictError("locked", "object lock")

    class Locked(DirectoryStore):
        def read(self, key: str) -> bytes:
            raise RefusedError("repository_not_writable", "no permission")

    class Forgetful(DirectoryStore):
        def create(self, key: str, data: bytes) -> ObjectInfo:
            return ObjectInfo(key, len(data), "1", NOON)

    where = Path(house.store.description)
    for broken, code in (
        (Odd(where), "locked"),
        (Locked(where), "repository_not_writable"),
        (Forgetful(where), "slot_missing"),
    ):
        with pytest.raises(AeternaError) as caught:
            house.recipients(broken).current(NOON)
        assert caught.value.code == code
