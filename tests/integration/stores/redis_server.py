"""A real Valkey per test, and a proxy that speaks TLS, damages or cuts what the server sends."""

import os
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from aeterna_cli.errors import AeternaError
from aeterna_cli.settings import RedisSettings
from aeterna_cli.stores import binaries, unprivileged
from aeterna_cli.stores.redis import RedisServer
from aeterna_cli.stores.redis_connection import RedisConnection

PASSWORD = "correct-horse-7f3a"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class LabRedis:
    """One server process on a data directory; ``kill`` and ``start`` again are a crash."""

    def __init__(self, folder: Path, *configuration: str) -> None:
        self.port = free_port()
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        lines = [
            f"port {self.port}", "bind 127.0.0.1", f'dir "{folder}"', f"requirepass {PASSWORD}",
            "appendonly no", 'save ""', "repl-diskless-sync yes", "repl-diskless-sync-delay 0",
            "repl-ping-replica-period 1", "set-proc-title no", *configuration,
        ]  # fmt: skip
        (folder / "valkey.conf").write_text("\n".join(lines) + "\n")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> "LabRedis":
        unprivileged.own(self.folder)
        command = unprivileged.wrap([binaries.redis_server(), self.folder / "valkey.conf"])
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 30
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                text = (self.folder / "log").read_text(errors="replace")[-2000:]
                self.kill()
                raise AssertionError(f"the server did not start: {text}")
            time.sleep(0.01)
        return self

    def _answers(self) -> bool:
        try:
            return bool(self.call("PING") == b"PONG")
        except AeternaError:
            return False

    def kill(self) -> None:
        if self.process is not None:
            os.kill(self.process.pid, signal.SIGCONT)
            self.process.kill()
            self.process.wait()
            self.process = None

    def settings(self, **changes: Any) -> RedisSettings:
        values: dict[str, Any] = {
            "port": self.port, "password": SecretStr(PASSWORD), "timeout": 10, **changes,
        }  # fmt: skip
        return RedisSettings(**values)

    def server(self, **changes: Any) -> RedisServer:
        return RedisServer(self.settings(**changes))

    def connection(self) -> RedisConnection:
        return RedisConnection(self.settings())

    def call(self, *words: bytes | str | int) -> Any:
        connection = self.connection()
        try:
            return connection.call(*words)
        finally:
            connection.close()


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A self-signed certificate for ``name``, which is its own CA, and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    folder.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    alternative: x509.GeneralName = x509.DNSName(name)
    with suppress(ValueError):
        alternative = x509.IPAddress(ip_address(name))
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / f"{name}.crt", folder / f"{name}.key"
    certificate_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate_file, key_file


Change = Callable[[bytes], bytes | None]


@contextmanager
def proxy(
    port: int, change: Change = lambda data: data, files: tuple[Path, Path] | None = None
) -> Iterator[int]:
    """A port that leads to ``port``; ``files`` makes it speak TLS.

    ``change`` sees what the server sends; None from it cuts the connection.
    """
    context = None
    if files is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*files)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threads: list[threading.Thread] = []
        ended = threading.Event()
        accepting = threading.Thread(
            target=_accept,
            args=(
                listener,
                lambda client: _serve(client, port, change, context, ended),
                threads,
                ended,
            ),
        )
        accepting.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            ended.set()
            for thread in (accepting, *threads):
                thread.join()


def _accept(
    listener: socket.socket,
    serve: Callable[[socket.socket], None],
    threads: list[threading.Thread],
    ended: threading.Event,
) -> None:
    listener.settimeout(0.05)
    while not ended.is_set():
        try:
            client, _ = listener.accept()
        except TimeoutError:
            continue
        thread = threading.Thread(target=serve, args=(client,))
        threads.append(thread)
        thread.start()


def _serve(
    client: socket.socket,
    port: int,
    change: Change,
    context: ssl.SSLContext | None,
    ended: threading.Event,
) -> None:
    client.settimeout(5)
    with suppress(OSError), client:
        speaking = context.wrap_socket(client, server_side=True) if context else client
        with speaking, socket.create_connection(("127.0.0.1", port)) as server:
            server.settimeout(0.005)
            speaking.settimeout(0.005)
            while not ended.is_set():
                for source, target, edit in ((speaking, server, None), (server, speaking, change)):
                    with suppress(TimeoutError):
                        data: bytes | None = source.recv(1 << 16)
                        if not data:
                            return
                        data = edit(data) if edit else data
                        if data is None:
                            return
                        target.settimeout(5)
                        target.sendall(data)
                        target.settimeout(0.005)
