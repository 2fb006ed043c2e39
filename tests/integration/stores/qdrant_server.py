"""A Qdrant-compatible server of the lab per test, and a proxy that stands for what goes wrong."""

import http.client
import http.server
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from pydantic import SecretStr

from aeterna_cli.settings import QdrantSettings, TlsSettings
from aeterna_cli.stores.qdrant import QdrantServer

API_KEY = "lab-key-5a1c0ffee"
READ_ONLY_KEY = "lab-key-read-only"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class LabQdrant:
    """One server process on a data directory; ``kill`` and ``start`` again are a crash."""

    def __init__(self, folder: Path, version: str = "1.19.0") -> None:
        self.port = free_port()
        self.folder, self.version = folder, version
        folder.mkdir(parents=True, exist_ok=True)
        self._key = folder / "key"
        self._key.write_text(API_KEY)
        self._read_only = folder / "read-only-key"
        self._read_only.write_text(READ_ONLY_KEY)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "aeterna_cli.lab.qdrant"]
        command += ["--data-dir", str(self.folder / "data"), "--host", "127.0.0.1"]
        command += ["--port", str(self.port), "--version", self.version]
        command += ["--api-key-file", str(self._key)]
        command += ["--read-only-api-key-file", str(self._read_only)]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 30
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                text = (self.folder / "log").read_text(errors="replace")[-2000:]
                self.kill()
                raise AssertionError(f"the lab's Qdrant did not start: {text}")
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=1):
                return True
        except (urllib.error.URLError, OSError):
            return False

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def client(self, key: str = API_KEY) -> QdrantServer:
        return QdrantServer(
            QdrantSettings(url=f"http://127.0.0.1:{self.port}", api_key=SecretStr(key))
        )


@contextmanager
def lab_qdrant(folder: Path, version: str = "1.19.0") -> Iterator[LabQdrant]:
    server = LabQdrant(folder, version)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@dataclass
class Rule:
    """What to do with requests whose ``METHOD /path?query`` matches.

    ``status`` answers instead of the server; ``keep`` passes on only this part of a streamed body
    and then ends it as if all were well.
    """

    pattern: str
    status: int | None = None
    body: bytes = b""
    keep: float | None = None
    announce_length: bool = False
    times: int = 1 << 30


@dataclass
class FaultProxy:
    """Stands between the driver and the server, on http or, with ``tls``, https."""

    upstream: int
    rules: list[Rule] = field(default_factory=list)
    tls: ssl.SSLContext | None = None

    def __enter__(self) -> "FaultProxy":
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: Any) -> None:
                """Quiet."""

            def do_GET(self) -> None:
                proxy._handle(self)

            do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if self.tls is not None:
            self._server.socket = self.tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]  # broken peers are wanted
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def client(self, tls: TlsSettings | None = None, key: str = API_KEY) -> QdrantServer:
        port = self._server.server_address[1]
        scheme = "http" if tls is None else "https"
        url = f"{scheme}://127.0.0.1:{port}"
        return QdrantServer(
            QdrantSettings(url=url, api_key=SecretStr(key), tls=tls or TlsSettings(), timeout=10)
        )

    def _rule(self, line: str) -> Rule | None:
        for rule in self.rules:
            if rule.times > 0 and re.search(rule.pattern, line):
                rule.times -= 1
                return rule
        return None

    def _handle(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        line = f"{handler.command} {handler.path}"
        body = handler.rfile.read(int(handler.headers.get("content-length") or 0))
        rule = self._rule(line)
        if rule is not None and rule.status is not None:
            self._answer(handler, rule.status, rule.body)
            return
        upstream = http.client.HTTPConnection("127.0.0.1", self.upstream, timeout=60)
        try:
            upstream.request(handler.command, handler.path, body, dict(handler.headers))
            answer = upstream.getresponse()
            data = answer.read()
        finally:
            upstream.close()
        if rule is not None and rule.keep is not None:
            announced = len(data) if rule.announce_length else None
            self._answer(handler, answer.status, data[: int(len(data) * rule.keep)], announced)
            return
        self._answer(handler, answer.status, data)

    @staticmethod
    def _answer(
        handler: http.server.BaseHTTPRequestHandler,
        status: int,
        data: bytes,
        announced: int | None = None,
    ) -> None:
        handler.send_response(status)
        handler.send_header("content-type", "application/json")
        handler.send_header("content-length", str(announced or len(data)))
        if announced is not None:
            handler.send_header("connection", "close")
        handler.end_headers()
        handler.wfile.write(data)
