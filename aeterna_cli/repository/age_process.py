"""The child process that encrypts or decrypts one stream, from stdin to stdout.

``python -m aeterna_cli.repository.age_process encrypt RECIPIENT...`` or ``... decrypt FD``, where
the inherited descriptor FD gives one age identity: a secret never stands in argv or environment.
It is a process of its own because pyrage holds the interpreter lock while it works on a stream.
Start-up is part of every volume's time: nothing but pyrage is imported.

Exit codes: 0 whole stream done; 3 the stream or the identity is refused; 4 a pipe failed (as when
the other side gave up). Whoever reads the output must not trust it before the code is 0.
"""

import os
import sys

DONE, REFUSED, PIPE = 0, 3, 4
_BLOCK = 1 << 16


class _Input:
    def __init__(self, descriptor: int) -> None:
        self._source = os.fdopen(descriptor, "rb", buffering=_BLOCK, closefd=False)

    def read(self, size: int = -1) -> bytes:
        return self._source.read(size)


class _Output:
    """Writes everything or remembers that it could not: pyrage drops the error of a last write."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.broken = False

    def write(self, data: bytes) -> int:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError:
            self.broken = True
            raise
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""


def _identity(descriptor: int) -> str:
    with os.fdopen(descriptor, "r", encoding="ascii") as secret:
        return secret.read().strip()


def main(arguments: list[str]) -> int:
    import pyrage

    mode, *words = arguments
    source, target = _Input(0), _Output(1)
    try:
        if mode == "encrypt":
            recipients = [pyrage.x25519.Recipient.from_str(word) for word in words]
            pyrage.encrypt_io(source, target, recipients)
        else:
            identity = pyrage.x25519.Identity.from_str(_identity(int(words[0])))
            pyrage.decrypt_io(source, target, [identity])
    except (pyrage.EncryptError, pyrage.DecryptError, OSError) as error:
        sys.stderr.write(str(error)[:200])
        return PIPE if target.broken else REFUSED
    except (pyrage.RecipientError, pyrage.IdentityError):
        sys.stderr.write("not an age recipient or identity")  # never the words themselves
        return REFUSED
    return PIPE if target.broken else DONE


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
