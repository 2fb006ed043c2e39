"""Qdrant's REST API: one connection, typed errors, no secret in any message."""

import re
import socket
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import orjson

from aeterna_cli.errors import (
    AeternaError,
    AuthenticationError,
    RefusedError,
    RemoteError,
    TransientError,
    UsageError,
)
from aeterna_cli.settings import QdrantSettings

#: How long a server may work on one snapshot before it sends anything, in seconds.
SNAPSHOT_SECONDS = 3600.0
#: A peer that does not even accept a connection is left after this time, where there are others.
_CONNECT_SECONDS = 5.0
_READING_POSTS = (
    "/points",
    "/points/scroll",
    "/points/count",
    "/points/query",
    "/points/search",
    "/facet",
)
_THROTTLED_OR_DOWN = frozenset({408, 429, 500, 502, 503, 504})
_KEEPALIVE = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 6),
]


def _tls(settings: QdrantSettings) -> ssl.SSLContext:
    tls = settings.tls
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
        if tls.certificate_file is not None:
            context.load_cert_chain(tls.certificate_file, tls.key_file)
    except OSError as error:  # ssl.SSLError is one
        raise UsageError(
            "qdrant_tls_files_unreadable",
            f"cannot use Qdrant's TLS files: {error.strerror or error}",
            hint="check qdrant.tls.ca_file, certificate_file and key_file in the profile",
        ) from error
    return context


def _server_message(body: bytes) -> str:
    """What the server says about an error, shortened; never what we sent."""
    try:
        status = orjson.loads(body)["status"]["error"]
    except (ValueError, KeyError, TypeError):
        status = body.decode(errors="replace")
    return re.sub(r"\s+", " ", str(status)).strip()[:300] or "no explanation"


class QdrantHttp:
    """REST calls. Nothing connects before the first; ``close`` may be called at any time.

    ``qdrant.url`` is asked as long as it serves. One that is unreachable or fails (5xx) is left for
    the next of ``qdrant.peers`` at the next connection; only what changes nothing, or was never
    sent, is asked again there at once.
    """

    def __init__(self, settings: QdrantSettings) -> None:
        self._settings = settings
        self._client: httpx.Client | None = None
        #: every address of the deployment, ``qdrant.url`` first
        self.urls = checked_urls(settings)
        #: filled by whoever asks which peer is where
        self.peer_addresses: dict[int, str] = {}
        self._at = 0
        self._secure = self.url.startswith("https:")
        #: what the server that answered last says it is not; empty for a real one
        self.emulated = ""

    @property
    def url(self) -> str:
        """The address in use."""
        return self.urls[self._at]

    @property
    def description(self) -> str:
        """Where the server is, for people: never with a user name or password."""
        return describe_url(self.url)

    def alone(self, url: str, seconds: float | None = None) -> "QdrantHttp":
        """A connection of its own to one address and no other."""
        timeout = min(self._settings.timeout, seconds or self._settings.timeout)
        update = {"url": url, "peers": (), "timeout": timeout}
        return QdrantHttp(self._settings.model_copy(update=update))

    @property
    def sends_key_in_clear(self) -> bool:
        """An API key travels unencrypted to another machine."""
        host = urlsplit(self.url).hostname
        local = host in ("localhost", "::1") or str(host).startswith("127.")
        return not self._secure and not local and self._settings.secret() is not None

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def _connection(self) -> httpx.Client:
        if self._client is None:
            verify = _tls(self._settings) if self._secure else False
            self._client = httpx.Client(
                base_url=self.url.rstrip("/"),
                transport=httpx.HTTPTransport(verify=verify, socket_options=_KEEPALIVE),
                timeout=self._settings.timeout,
                trust_env=False,  # no proxy and no .netrc decides where the key goes
            )
        return self._client

    def _request(
        self,
        method: str,
        path: str,
        *,
        content: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        seconds: float | None = None,
    ) -> httpx.Request:
        client = self._connection()
        sent = dict(headers or {})
        key = self._settings.secret()
        if key is not None:
            sent["api-key"] = key
        name = self._settings.tls.server_name
        patience = self._settings.timeout
        connect = min(patience, _CONNECT_SECONDS) if len(self.urls) > 1 else patience
        timeout = httpx.Timeout(patience, read=max(seconds or 0, patience), connect=connect)
        extensions: dict[str, Any] = {"timeout": timeout.as_dict()}
        if name is not None and self._secure:
            extensions["sni_hostname"] = name
        return client.build_request(
            method, path, content=content, headers=sent, params=params, extensions=extensions
        )

    @contextmanager
    def _faults(self, what: str) -> Iterator[None]:
        """Faults on the way there and back as typed errors."""
        try:
            yield
        except httpx.TimeoutException as error:
            raise TransientError(
                "qdrant_timeout",
                f"Qdrant at {self.description} did not answer in time: {what}",
                details={"sent": not isinstance(error, httpx.ConnectTimeout)},
            ) from error
        except httpx.TransportError as error:
            if isinstance(error.__cause__, ssl.SSLCertVerificationError) or "CERTIFICATE" in str(
                error
            ):
                raise AuthenticationError(
                    "qdrant_certificate_refused",
                    f"the certificate of Qdrant at {self.description} cannot be trusted",
                    hint=str(error)[:200],
                ) from error
            raise TransientError(
                "qdrant_unreachable",
                f"Qdrant at {self.description} cannot be reached: {what}",
                hint=str(error)[:200],
                details={"sent": not isinstance(error, httpx.ConnectError)},
            ) from error

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        params: Mapping[str, str] | None = None,
        content: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        seconds: float | None = None,
    ) -> Any:
        """One call; the ``result`` of the server's envelope (the whole answer without one).

        ``body`` is sent as JSON; ``seconds`` lengthens the wait for an answer. Errors are those of
        ``error_of``.
        """
        if body is not None:
            content = orjson.dumps(body)
            headers = {"content-type": "application/json"}
        build = partial(self._request, method, path, content=content, headers=headers,
                        params=params, seconds=seconds)  # fmt: skip
        left = len(self.urls)
        while True:
            try:
                return self._once(f"{method} {path}", build)
            except TransientError as error:
                left -= 1
                if (
                    not self._leave(error)
                    or left < 1
                    or not _repeatable(error, method, path, content)
                ):
                    raise

    def _leave(self, error: TransientError) -> bool:
        """Whether the next connection goes to another peer, because this one does not serve."""
        status = error.details.get("status", 503)
        if len(self.urls) < 2 or status < 500:
            return False
        self.close()
        self._at = (self._at + 1) % len(self.urls)
        return True

    def _once(self, what: str, build: Callable[[], httpx.Request]) -> Any:
        with self._faults(what):
            answer = self._connection().send(build())
        self.emulated = answer.headers.get("x-aeterna-lab", "")
        if answer.status_code != 200:
            error = error_of(answer.status_code, answer.content, what, self.description)
            asked = answer.headers.get("retry-after", "")
            if asked.isdecimal():
                error.details["retry_after"] = int(asked)
            raise error
        try:
            document = orjson.loads(answer.content)
        except ValueError as error:
            raise RemoteError(
                "qdrant_answer_unreadable",
                f"{self.description} does not answer like Qdrant: {what}",
            ) from error
        return (
            document["result"] if isinstance(document, dict) and "result" in document else document
        )

    def upsert(self, collection: str, body: Mapping[str, Any]) -> None:
        """Write points; they are applied when this returns.

        ``TransientError('qdrant_not_applied')`` where the server only took note of them.
        """
        path = f"/collections/{part(collection)}/points"
        status = self.call("PUT", path, body, params={"wait": "true"}).get("status")
        if status != "completed":
            raise TransientError(
                "qdrant_not_applied", f"points of {collection} are {status}, not yet applied"
            )

    @contextmanager
    def download(self, path: str) -> Iterator["Download"]:
        """Stream an answer's body. Errors as of ``call``, also while reading."""
        what = f"GET {path}"
        with self._faults(what):
            plain = {"accept-encoding": "identity"}
            request = self._request("GET", path, headers=plain, seconds=SNAPSHOT_SECONDS)
            answer = self._connection().send(request, stream=True)
        try:
            if answer.status_code != 200:
                with self._faults(what):
                    body = answer.read()
                raise error_of(answer.status_code, body, what, self.description)
            length = answer.headers.get("content-length")
            yield Download(self._chunks(answer, what), int(length) if length else None)
        finally:
            answer.close()

    def _chunks(self, answer: httpx.Response, what: str) -> Iterator[bytes]:
        """A body that breaks off is ``TransientError('snapshot_truncated')``."""
        try:
            with self._faults(what):
                yield from answer.iter_raw(1 << 18)
        except TransientError as error:
            raise TransientError(
                "snapshot_truncated",
                f"the connection to {self.description} broke while a snapshot was streamed",
                hint=error.hint,
            ) from error


def describe_url(url: str) -> str:
    """An address without user name and password."""
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname}{port}{parts.path.rstrip('/')}"


def checked_urls(settings: QdrantSettings) -> tuple[str, ...]:
    """``qdrant.url`` and every other of ``qdrant.peers``; a peer may be given as host:port.

    ``UsageError``: ``qdrant_url_invalid``, ``qdrant_url_not_https`` where TLS is wanted, also where
    one address has it and another has not.
    """
    scheme = settings.url.partition("://")[0]
    peers = [one if "://" in one else f"{scheme}://{one}" for one in settings.peers]
    others = [one for one in peers if describe_url(one) != describe_url(settings.url)]
    urls = tuple(dict.fromkeys((settings.url, *others)))
    secure = settings.tls.enabled or any(one.startswith("https:") for one in urls)
    for one in urls:
        parts = urlsplit(one)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            name = "qdrant.url" if one == settings.url else "an address in qdrant.peers"
            raise UsageError("qdrant_url_invalid", f"{name} is no http:// or https:// address")
        if secure and parts.scheme != "https":
            raise UsageError(
                "qdrant_url_not_https",
                f"qdrant.tls is enabled but {describe_url(one)} is not an https:// address",
            )
    return urls


def _repeatable(
    error: TransientError, method: str, path: str, content: bytes | Iterable[bytes] | None
) -> bool:
    """Whether the request may be sent to another peer: it was never sent, or changes nothing."""
    if content is not None and not isinstance(content, bytes):
        return False
    reads = method == "GET" or (method == "POST" and path.endswith(_READING_POSTS))
    return reads or error.details.get("sent") is False


class Download:
    """A streamed body and its announced length, if there is one."""

    def __init__(self, chunks: Iterator[bytes], length: int | None) -> None:
        self.chunks = chunks
        self.length = length


def error_of(status: int, body: bytes, what: str, where: str) -> AeternaError:
    """The typed error of an answer that is not 200."""
    message = f"Qdrant at {where} answered {status} to {what}: {_server_message(body)}"
    details = {"status": status}
    if status in (401, 403):
        return AuthenticationError(
            "qdrant_key_refused",
            message,
            hint="check qdrant.api_key_file in the profile and what the key may do",
            details=details,
        )
    if status in _THROTTLED_OR_DOWN:
        return TransientError("qdrant_unavailable", message, details=details)
    if status == 404:
        return RemoteError("qdrant_not_found", message, details=details)
    return RemoteError("qdrant_refused", message, details=details)


def snapshots_refused(error: AeternaError, collection: str) -> RefusedError | None:
    """The error to raise where this deployment gives no snapshots; None for any other fault."""
    if error.details.get("status") not in (403, 405, 501):
        return None
    return RefusedError(
        "snapshots_refused",
        f"this Qdrant gives no snapshots of {collection}: {error.message}",
        hint="take a logical image instead, or a key that may manage the collection",
        details=error.details,
    )


def part(name: str) -> str:
    """A name as one part of a path."""
    return quote(name, safe="")
