"""Small sealed pieces."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aeterna_cli.errors import RemoteError, UsageError
from aeterna_cli.keys.slots import create_identity
from aeterna_cli.repository.blobs import LARGEST, seal, unseal
from tests.unit.repository.given import Person, flipped

IDENTITY, RECIPIENT = create_identity()


@settings(deadline=None)
@given(st.binary(max_size=5000))
def test_there_and_back(plain: bytes) -> None:
    assert unseal(seal(plain, [RECIPIENT]), IDENTITY) == plain


def test_a_whole_wal_chunk_and_the_largest_blob() -> None:
    for size in (4 << 20, LARGEST):
        sealed = seal(bytes(size), [RECIPIENT])
        assert unseal(sealed, IDENTITY) == bytes(size)
    with pytest.raises(ValueError, match="SealedWriter"):
        seal(bytes(LARGEST + 1), [RECIPIENT])


def test_the_content_is_hidden_and_every_recipient_opens_it(person: Person) -> None:
    sealed = seal(b"in plain sight", [RECIPIENT, person.recipient])
    assert b"plain" not in sealed
    assert unseal(sealed, person.identity) == unseal(sealed, IDENTITY) == b"in plain sight"


def test_damage_and_another_identity_do_not_open(person: Person) -> None:
    sealed = seal(b"text" * 100, [RECIPIENT])
    wrong = [(sealed, person.identity), (sealed, "nonsense"), (b"", IDENTITY)]
    wrong += [(flipped(place)(sealed), IDENTITY) for place in (0, 60, 150, -1)]
    wrong += [(sealed[:-1], IDENTITY), (sealed[:30], IDENTITY), (sealed + b"x", IDENTITY)]
    for data, identity in wrong:
        with pytest.raises(RemoteError) as refused:
            unseal(data, identity)
        assert refused.value.code == "seal_broken"


def test_what_others_sealed_is_no_bomb() -> None:
    import pyrage
    import zstandard

    recipient = pyrage.x25519.Recipient.from_str(RECIPIENT)
    unsized = zstandard.ZstdCompressor().compressobj()
    for packed in (
        zstandard.compress(bytes(LARGEST + 1)),
        zstandard.compress(b"text")[:-1],
        unsized.compress(b"text") + unsized.flush(),
        b"no zstd",
        b"",
    ):
        with pytest.raises(RemoteError) as refused:
            unseal(pyrage.encrypt(packed, [recipient]), IDENTITY)
        assert refused.value.code == "seal_broken"


def test_nothing_is_sealed_for_nobody() -> None:
    for recipients in ([], ["age1x"], [IDENTITY]):
        with pytest.raises(UsageError) as refused:
            seal(b"text", recipients)
        assert refused.value.code == "recipient_invalid"
        assert refused.value.__cause__ is None or IDENTITY not in str(refused.value.__cause__)
