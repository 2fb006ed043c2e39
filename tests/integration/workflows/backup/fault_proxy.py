"""What stands between a test and the lab's S3: a repository whose network or server misbehaves."""

import hashlib
import http.client
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

from aeterna_cli.lab import profile, seaweedfs
from aeterna_cli.lab.deployment import Lab

_DROPPED = ("content-length", "transfer-encoding", "connection")


def s3_repository(lab: Lab, endpoint: str) -> dict[str, Any]:
    """The section ``repository`` of a profile: a prefix of its own, reached through a proxy."""
    return {
        **profile.tree(lab.place())["repository"],
        "url": f"s3://{seaweedfs.BUCKET}/faults/{secrets.token_hex(6)}",
        "endpoint_url": endpoint,
        "timeout": 5,
    }


@contextmanager
def ignoring_conditions(upstream: str) -> Iterator[str]:
    """The address of a server that says 200 to every conditional write, whether it held or not.

    Requests are signed with their headers, so the condition travels on; only the refusal is lost.
    For the client that is a server which ignores ``If-None-Match`` and ``If-Match``.
    """
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(upstream))
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(upstream: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *arguments: Any) -> None:
            """Nothing: stderr belongs to the command under test."""

        def do_anything(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, headers, answer = self.forward(body)
            if status in (409, 412):
                digest = hashlib.md5(body, usedforsecurity=False).hexdigest()
                dates = [one for one in headers if one[0].lower() == "date"]
                status, headers, answer = 200, [*dates, ("ETag", f'"{digest}"')], b""
            length = str(len(answer))
            self.send_response_only(status)
            for name, value in headers:
                if name.lower() == "content-length":
                    length = value  # a HEAD names the length of a body that it does not have
                elif name.lower() not in _DROPPED:
                    self.send_header(name, value)
            self.send_header("Content-Length", length)
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = do_anything

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

    return Handler
