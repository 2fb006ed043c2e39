"""What stands between the mover and a server: something happens before a request or its answer."""

import http.client
import http.server
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aeterna_cli.settings import QdrantSettings

Happening = Callable[[str], None]


def _nothing(_line: str) -> None:
    pass


@dataclass
class Gate:
    """``before`` is called before a request is passed on, ``after`` before its answer is.

    ``cut``: so many answers that contain the path are broken off in the middle of the body.
    """

    port: int
    before: Happening = _nothing
    after: Happening = _nothing
    cut_path: str = "/scroll"
    cut: int = 0
    lines: list[str] = field(default_factory=list)
    address: int = 0

    def settings(self, **more: Any) -> QdrantSettings:
        return QdrantSettings(url=f"http://127.0.0.1:{self.address}", **more)


@contextmanager
def gate(port: int, **more: Any) -> Iterator[Gate]:
    made = Gate(port, **more)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(made))
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # broken peers are wanted
    made.address = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(gate: Gate) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

        def do_GET(self) -> None:
            line = f"{self.command} {self.path}"
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            gate.lines.append(line)
            gate.before(line)
            upstream = http.client.HTTPConnection("127.0.0.1", gate.port, timeout=60)
            try:
                upstream.request(self.command, self.path, body, dict(self.headers))
                answer = upstream.getresponse()
                data = answer.read()
            finally:
                upstream.close()
            gate.after(line)
            self.send_response(answer.status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            if gate.cut > 0 and gate.cut_path in self.path:
                gate.cut -= 1
                self.wfile.write(data[: len(data) // 2])
                self.close_connection = True
                self.wfile.flush()
                self.connection.close()
                return
            self.wfile.write(data)

        do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    return Handler
