"""Signatures: made by one key, checked by anybody."""

import stat
import subprocess
from pathlib import Path

import pytest

from aeterna_cli.errors import RefusedError, RemoteError
from aeterna_cli.repository.signing import SigningKey, is_public_key, verify


def test_a_saved_key_is_private_and_signs_the_same(signing_key: SigningKey, tmp_path: Path) -> None:
    path = tmp_path / "keys" / "signing.pem"
    signing_key.save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    loaded = SigningKey.load(path)
    assert loaded.public == signing_key.public
    verify(signing_key.public, b"text", loaded.sign(b"text"))


def test_an_existing_key_file_is_never_overwritten(signing_key: SigningKey, tmp_path: Path) -> None:
    path = tmp_path / "signing.pem"
    path.write_text("precious", encoding="ascii")
    with pytest.raises(RefusedError) as refused:
        signing_key.save(path)
    assert refused.value.code == "signing_key_exists"
    assert path.read_text(encoding="ascii") == "precious"


def test_openssl_agrees(signing_key: SigningKey, tmp_path: Path) -> None:
    path, text, signature = tmp_path / "key.pem", tmp_path / "text", tmp_path / "text.sig"
    signing_key.save(path)
    text.write_bytes(b"what was signed")
    signature.write_bytes(signing_key.sign(b"what was signed"))
    command = ["openssl", "pkeyutl", "-verify", "-rawin", "-inkey", str(path), "-in", str(text)]
    done = subprocess.run(
        [*command, "-sigfile", str(signature)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_another_text_key_or_signature_is_refused(signing_key: SigningKey) -> None:
    good = signing_key.sign(b"text")
    for public, data, signature in [
        (signing_key.public, b"texT", good),
        (SigningKey.generate().public, b"text", good),
        (signing_key.public, b"text", good[:-1]),
        (signing_key.public, b"text", b""),
        ("not base64", b"text", good),
        ("AAAA", b"text", good),
    ]:
        with pytest.raises(RemoteError) as refused:
            verify(public, data, signature)
        assert refused.value.code == "signature_invalid"


def test_a_key_that_others_can_read_is_refused(signing_key: SigningKey, tmp_path: Path) -> None:
    path = tmp_path / "signing.pem"
    signing_key.save(path)
    path.chmod(0o640)
    with pytest.raises(RefusedError) as refused:
        SigningKey.load(path)
    assert refused.value.code == "signing_key_exposed"


@pytest.mark.parametrize("content", [b"", b"secret words", b"-----BEGIN PRIVATE KEY-----\nAA==\n"])
def test_a_file_without_a_key_is_refused_without_repeating_it(
    content: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "signing.pem"
    path.touch(mode=0o600)
    path.write_bytes(content)
    with pytest.raises(RefusedError) as refused:
        SigningKey.load(path)
    assert refused.value.code == "signing_key_damaged"
    assert "secret" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_another_kind_of_key_is_refused(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    path = tmp_path / "other.pem"
    path.touch(mode=0o600)
    path.write_bytes(
        X25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    with pytest.raises(RefusedError, match="Ed25519"):
        SigningKey.load(path)


def test_a_missing_or_unusable_file_is_named(signing_key: SigningKey, tmp_path: Path) -> None:
    with pytest.raises(RefusedError) as refused:
        SigningKey.load(tmp_path / "nowhere")
    assert refused.value.code == "signing_key_missing"
    with pytest.raises(RefusedError) as refused:
        SigningKey.load(tmp_path)
    assert refused.value.code == "signing_key_unusable"
    (tmp_path / "file").touch()
    with pytest.raises(RefusedError) as refused:
        signing_key.save(tmp_path / "file" / "key")
    assert refused.value.code == "signing_key_unusable"


def test_no_secret_in_the_repr(signing_key: SigningKey, tmp_path: Path) -> None:
    signing_key.save(tmp_path / "key")
    pem = (tmp_path / "key").read_text(encoding="ascii").splitlines()[1]
    assert pem not in repr(signing_key) + str(vars(signing_key))


def test_what_is_a_public_key(signing_key: SigningKey) -> None:
    assert is_public_key(signing_key.public)
    for other in (None, 7, "", "AAAA", "ä", signing_key.public[:-4]):
        assert not is_public_key(other)
