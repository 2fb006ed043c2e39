"""A proxy before an HTTP server that breaks chosen requests as networks and servers do."""

import http.client
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Fault:
    """What happens to one request. One of the fields is set, or two where one says so."""

    cut_before: bool = False  # the request never arrives
    lose_answer: bool = False  # it is carried out, but nobody hears of it
    body_bytes: int | None = None  # the answer's body ends here, after a full Content-Length
    honest: bool = False  # with body_bytes: the Content-Length says so too
    silent: bool = False  # no answer before the client gives up
    status: int | None = None  # answered by the proxy itself
    code: str = ""


@dataclass(frozen=True)
class Request:
    method: str
    path: str  # with the query
    range: str | None


Rule = Callable[[Request], Fault | None]


@dataclass
class FaultProxy:
    """Where to reach it and what it saw. ``rule`` may be exchanged at any time."""

    address: str
    rule: Rule = lambda request: None
    seen: list[Request] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    def break_once(self, method: str, part: str, *faults: Fault) -> None:
        """The first requests of this method with ``part`` in their path get these faults."""
        self.seen.clear()
        waiting = list(faults)

        def rule(request: Request) -> Fault | None:
            fits = request.method == method and part in request.path
            return waiting.pop(0) if fits and waiting else None

        self.rule = rule

    def break_always(self, method: str, part: str, fault: Fault) -> None:
        self.seen.clear()
        self.rule = lambda request: (
            fault if request.method == method and part in request.path else None
        )

    def count(self, method: str, part: str = "") -> int:
        return sum(seen.method == method and part in seen.path for seen in self.seen)


@contextmanager
def fault_proxy(upstream: str, *, tls: ssl.SSLContext | None = None) -> Iterator[FaultProxy]:
    """A running proxy before ``upstream`` (``http://host:port``); gone at the end."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.daemon_threads = True
    scheme = "https" if tls else "http"
    proxy = FaultProxy(f"{scheme}://127.0.0.1:{server.server_address[1]}")
    server.RequestHandlerClass = _handler(proxy, upstream)
    if tls is not None:
        server.socket = tls.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield proxy
    finally:
        proxy.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(proxy: FaultProxy, upstream: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *arguments: Any) -> None:
            """Nothing: what was asked stands in ``seen``."""

        def handle(self) -> None:
            try:
                super().handle()
            except OSError:
                self.close_connection = True  # the client went away, or refused our certificate

        def do_anything(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            request = Request(self.command, self.path, self.headers.get("Range"))
            fault = proxy.rule(request) or Fault()
            proxy.seen.append(request)
            if fault.cut_before or fault.silent:
                if fault.silent:
                    proxy.closing.wait(30)
                self.close_connection = True
            elif fault.status is not None:
                self.answer(fault.status, [], _error(fault.code))
            else:
                status, headers, answer = self.forward(body)
                if fault.lose_answer:
                    self.close_connection = True
                elif fault.honest:
                    shorter = [one for one in headers if one[0].lower() != "content-length"]
                    self.answer(status, shorter, answer[: fault.body_bytes])
                else:
                    self.answer(status, headers, answer, fault.body_bytes)

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = do_LIST = do_anything
        do_PATCH = do_anything

        def forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
            connection = http.client.HTTPConnection(urlsplit(upstream).netloc, timeout=30)
            try:
                connection.putrequest(
                    self.command, self.path, skip_host=True, skip_accept_encoding=True
                )
                for name, value in self.headers.items():
                    connection.putheader(name, value)
                connection.endheaders(body)
                answer = connection.getresponse()
                return answer.status, answer.getheaders(), answer.read()
            finally:
                connection.close()

        def answer(
            self,
            status: int,
            headers: list[tuple[str, str]],
            body: bytes,
            keep: int | None = None,
        ) -> None:
            self.send_response_only(status)
            length = str(len(body))
            for name, value in headers:
                if name.lower() == "content-length":
                    length = value
                elif name.lower() not in ("transfer-encoding", "connection"):
                    self.send_header(name, value)
            self.send_header("Content-Length", length)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body[:keep])
            self.close_connection = self.close_connection or keep is not None

    return Handler


def _error(code: str) -> bytes:
    return f"<Error><Code>{code}</Code><Message>on purpose</Message></Error>".encode()
