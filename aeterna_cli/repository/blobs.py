"""Small pieces (WAL chunks, history files) sealed in memory: zstd in age, as a volume is.

pyrage's one-shot calls hold the interpreter lock, about 1 ms for each MB: bearable for pieces of a
few megabytes, where a child process for each would cost fifty times as much.
"""

from collections.abc import Sequence

from aeterna_cli.errors import RemoteError

LARGEST = 16 << 20  # bytes of plain data


def seal(data: bytes, recipients: Sequence[str], level: int = 1) -> bytes:
    """``age`` with one of the recipients' identities, then ``zstd -d``, gives ``data`` again.

    ``UsageError('recipient_invalid')`` for a recipient that is none.
    """
    import pyrage
    import zstandard

    from aeterna_cli.repository.recipients import parse_recipients

    if len(data) > LARGEST:
        raise ValueError(f"a blob has at most {LARGEST} bytes: use a SealedWriter")
    packed = zstandard.ZstdCompressor(level=level, write_checksum=True).compress(data)
    sealed: bytes = pyrage.encrypt(packed, parse_recipients(recipients))
    return sealed


def unseal(data: bytes, identity: str) -> bytes:
    """What was sealed. It is authentic as far as age goes: anybody can seal for a recipient.

    ``RemoteError('seal_broken')`` when ``identity`` does not open it or it is damaged, which
    cannot be told apart; never a part of the content.
    """
    import pyrage
    import zstandard

    try:
        key = pyrage.x25519.Identity.from_str(identity)
        packed = pyrage.decrypt(data, [key])
        with zstandard.ZstdDecompressor().stream_reader(packed) as stream:
            plain = stream.read(LARGEST + 1)
        whole = len(plain) <= LARGEST and zstandard.frame_content_size(packed) == len(plain)
    except (pyrage.IdentityError, pyrage.DecryptError, zstandard.ZstdError) as error:
        raise _broken() from error
    if not whole:
        raise _broken()
    return plain


def _broken() -> RemoteError:
    return RemoteError(
        "seal_broken",
        "a sealed object does not open: it is damaged, or was sealed for another identity",
    )
