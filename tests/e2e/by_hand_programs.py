"""Stand-ins for programs that the page of recovery by hand uses and a bare machine may lack.

``python by_hand_programs.py NAME ARGUMENTS...`` behaves as NAME does for exactly the arguments that
``docs/formats.md`` gives it, and exits with 2 for all others.
"""

import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


def age(words: Sequence[str]) -> None:
    """``age -d -i FILE``, standard input to standard output."""
    import pyrage

    flag, option, path = words
    if (flag, option) != ("-d", "-i"):
        raise ValueError(words)
    lines = Path(path).read_text(encoding="ascii").split("\n")
    (secret,) = [line for line in lines if line.startswith("AGE-SECRET-KEY-1")]
    identity = pyrage.x25519.Identity.from_str(secret)
    sys.stdout.buffer.write(pyrage.decrypt(sys.stdin.buffer.read(), [identity]))


def zstd(words: Sequence[str]) -> None:
    """``zstd -dqc``."""
    import zstandard

    if list(words) != ["-dqc"]:
        raise ValueError(words)
    zstandard.ZstdDecompressor().copy_stream(sys.stdin.buffer, sys.stdout.buffer)


def openssl(words: Sequence[str]) -> None:
    """``openssl pkeyutl -verify -pubin -inkey KEY -rawin -in FILE -sigfile SIGNATURE``."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    if list(words[:4]) != ["pkeyutl", "-verify", "-pubin", "-inkey"]:
        raise ValueError(words)
    _, _, _, _, key, _, _, data, _, signature = words
    public = load_pem_public_key(Path(key).read_bytes())
    if not isinstance(public, Ed25519PublicKey):
        raise ValueError("not an Ed25519 key")
    public.verify(Path(signature).read_bytes(), Path(data).read_bytes())
    sys.stdout.write("Signature Verified Successfully\n")


def curl(words: Sequence[str]) -> None:
    """``curl -fsS`` with ``-X``, ``-H``, ``--data-binary @FILE`` and ``-F NAME=@FILE``."""
    import httpx

    method, headers, rest = "GET", {}, iter(words)
    content: bytes | None = None
    files: dict[str, Any] = {}
    url = ""
    for word in rest:
        match word:
            case "-fsS":
                pass
            case "-X":
                method = next(rest)
            case "-H":
                headers.update(_headers(next(rest)))
            case "--data-binary":
                content = Path(next(rest).removeprefix("@")).read_bytes()
            case "-F":
                name, _, path = next(rest).partition("=@")
                files[name], method = Path(path).read_bytes(), "POST"
            case _ if word.startswith("http"):
                url = word
            case _:
                raise ValueError(word)
    answer = httpx.request(
        method, url, headers=headers, content=content, files=files or None, timeout=60
    )
    if answer.is_error:
        sys.exit(f"curl: (22) The requested URL returned error: {answer.status_code}")
    sys.stdout.buffer.write(answer.content)


def _headers(text: str) -> dict[str, str]:
    lines = Path(text[1:]).read_text(encoding="ascii") if text.startswith("@") else text
    pairs = (line.partition(":") for line in lines.splitlines())
    return {name: value.strip() for name, _, value in pairs}


def valkey_cli(words: Sequence[str]) -> None:
    """``valkey-cli -s SOCKET [-n DATABASE] COMMAND...`` for replies of one line."""
    database, command = "0", list(words[2:])
    if words[0] != "-s":
        raise ValueError(words)
    if command[0] == "-n":
        database, command = command[1], command[2:]
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(words[1])
        file = connection.makefile("rwb")
        for one in (["SELECT", database], command):
            parts = (b"$%d\r\n%b\r\n" % (len(word.encode()), word.encode()) for word in one)
            file.write(b"*%d\r\n" % len(one) + b"".join(parts))
        file.flush()
        file.readline()
        reply = file.readline().decode().rstrip()
    sys.stdout.write((reply[1:] if reply[:1] in "+:" else reply) + "\n")


PROGRAMS: dict[str, Callable[[Sequence[str]], None]] = {
    "age": age,
    "zstd": zstd,
    "openssl": openssl,
    "curl": curl,
    "valkey-cli": valkey_cli,
}

if __name__ == "__main__":
    try:
        PROGRAMS[sys.argv[1]](sys.argv[2:])
    except (ValueError, KeyError) as error:
        sys.exit(f"{sys.argv[1]}: the stand-in does not know this: {error}")
