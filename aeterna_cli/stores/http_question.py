"""A scenario's question over HTTP: one request, no proxy, no credentials of the environment."""

from typing import Any

import httpx

from aeterna_cli.errors import RemoteError, TransientError, UsageError

_LONGEST = 1 << 20  # bytes of an answer


def ask(method: str, url: str, timeout: float, body: Any = None) -> dict[str, Any]:
    """``{"status": 200, "body": ...}``; the body is JSON where it is that, else its text.

    Redirects are answers like any other. ``TransientError('http_unreachable')``.
    """
    try:
        with (
            httpx.Client(trust_env=False, timeout=timeout) as client,
            client.stream(method, url, json=body) as answer,
        ):
            data = bytearray()
            for block in answer.iter_bytes(1 << 16):
                data += block
                if len(data) > _LONGEST:
                    raise RemoteError("http_answer_too_large", f"{url} answers more than 1 MiB")
            return {"status": answer.status_code, "body": _content(answer, bytes(data))}
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError) as error:
        raise UsageError(
            "http_url_invalid", f"{url!r} is no http:// or https:// address"
        ) from error
    except httpx.HTTPError as error:
        raise TransientError(
            "http_unreachable",
            f"{url} does not answer: {type(error).__name__}",
            hint=str(error)[:200],
        ) from error


def _content(answer: httpx.Response, data: bytes) -> Any:
    import json

    text = data.decode(answer.encoding or "utf-8", "replace")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
