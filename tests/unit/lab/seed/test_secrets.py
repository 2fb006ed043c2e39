"""The platform's row shape of a secret, and that it opens with the seed's key alone."""

import uuid

import pytest

from aeterna_cli.lab.seed.secrets import kms_key, seal, unseal

ROW = uuid.UUID(int=7)


def test_a_secret_opens_with_the_key_of_its_seed() -> None:
    from cryptography.exceptions import InvalidTag

    sealed = seal(1, ROW, b"token")
    assert unseal(kms_key(1), sealed.wrapped_dek, sealed.ciphertext, sealed.nonce) == b"token"
    with pytest.raises(InvalidTag):
        unseal(kms_key(2), sealed.wrapped_dek, sealed.ciphertext, sealed.nonce)


def test_the_shape_is_the_platforms() -> None:
    """12-byte nonces, a 16-byte tag behind each ciphertext, a DEK of 32 bytes inside."""
    sealed = seal(1, ROW, b"token")
    assert sealed.kms_key_id == "local:env"
    assert len(kms_key(1)) == 32
    assert len(sealed.nonce) == 12
    assert len(sealed.ciphertext) == len(b"token") + 16
    assert len(sealed.wrapped_dek) == 12 + 32 + 16


def test_every_row_has_keys_of_its_own_and_the_same_each_time() -> None:
    assert seal(1, ROW, b"x") == seal(1, ROW, b"x")
    other = seal(1, uuid.UUID(int=8), b"x")
    assert other.wrapped_dek != seal(1, ROW, b"x").wrapped_dek
    assert other.nonce != seal(1, ROW, b"x").nonce
